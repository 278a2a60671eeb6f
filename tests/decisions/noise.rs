//! Chance, the same in every run: counts as they are told, or drawn around them.

/// Where counts come from.
pub struct Noise(Option<u64>);

impl Noise {
    /// The counts that the situation tells.
    pub fn none() -> Self {
        Self(None)
    }

    /// One draw of what might have been counted: requests by Poisson, bad ones by the binomial distribution.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(seed))
    }

    /// The running numbers of the requests between two moments (seconds since a revision began to serve).
    pub fn requests(&mut self, rate: f64, (from, to): (i64, i64)) -> (u64, u64) {
        let first = whole(from as f64 * rate);
        match self.0 {
            None => (first, whole(to as f64 * rate)),
            Some(_) => (first, first + self.poisson((to - from) as f64 * rate)),
        }
    }

    /// How many of them are bad.
    pub fn bad(&mut self, (first, last): (u64, u64), share: f64) -> u64 {
        match self.0 {
            None => whole(last as f64 * share) - whole(first as f64 * share),
            Some(_) => self.binomial(last - first, share),
        }
    }

    fn poisson(&mut self, mean: f64) -> u64 {
        if mean > 50.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as u64;
        }
        let limit = (-mean).exp();
        let (mut count, mut product) = (0, self.uniform());
        while product > limit {
            count += 1;
            product *= self.uniform();
        }
        count
    }

    fn binomial(&mut self, requests: u64, share: f64) -> u64 {
        let n = requests as f64;
        if n * share * (1.0 - share) > 25.0 {
            let spread = (n * share * (1.0 - share)).sqrt();
            return (n * share + spread * self.normal()).round().clamp(0.0, n) as u64;
        }
        if n * share <= 25.0 && requests > 500 {
            return self.poisson(n * share).min(requests);
        }
        (0..requests).filter(|_| self.uniform() < share).count() as u64
    }

    /// Box and Muller.
    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().max(f64::MIN_POSITIVE).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// SplitMix64, as a number from 0 to 1.
    fn uniform(&mut self) -> f64 {
        let Some(state) = &mut self.0 else { return 0.5 };
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Rounded down, but for what floating point leaves out.
fn whole(value: f64) -> u64 {
    (value + 1e-6) as u64
}
