//! What is asked for on the command line.

use std::thread;

pub struct Arguments {
    pub seeds: u64,
    pub from: u64,
    /// Every crash point, and pairs of them.
    pub crashes: bool,
    /// The fault table.
    pub faults: bool,
    /// Whether the fault table is shown.
    pub table: bool,
    /// Only the case of this name.
    pub play: Option<String>,
    pub trace: bool,
    pub jobs: usize,
    pub keep_going: bool,
}

impl Arguments {
    pub fn read(mut given: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut read = Self {
            seeds: 0,
            from: 0,
            crashes: false,
            faults: false,
            table: false,
            play: None,
            trace: false,
            jobs: thread::available_parallelism().map_or(1, usize::from),
            keep_going: false,
        };
        while let Some(name) = given.next() {
            let mut value = || given.next().ok_or(format!("{name} needs a value"));
            let number = |value: String| -> Result<u64, String> {
                value.replace('_', "").parse().map_err(|_| format!("{name}: {value:?} is no number"))
            };
            match name.as_str() {
                "--seeds" => read.seeds = number(value()?)?,
                "--from" => read.from = number(value()?)?,
                "--seed" => read.play = Some(format!("seed {}", number(value()?)?)),
                "--play" => read.play = Some(value()?),
                "--jobs" => read.jobs = number(value()?)?.max(1) as usize,
                "--crashes" => read.crashes = true,
                "--faults" => read.faults = true,
                "--table" => (read.faults, read.table) = (true, true),
                "--trace" => read.trace = true,
                "--keep-going" => read.keep_going = true,
                // What cargo hands to every test.
                "--quiet" | "-q" | "--nocapture" | "--show-output" => {}
                other => {
                    return Err(format!(
                        "{other}: expected --seeds, --from, --seed, --crashes, --faults, --table, --play, --trace, \
                         --jobs or --keep-going"
                    ));
                }
            }
        }
        Ok(read)
    }
}
