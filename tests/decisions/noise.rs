//! Chance, the same in every run: counts as they are told, or drawn around them.

use std::cell::Cell;

/// Where counts come from.
pub struct Noise(Option<Cell<u64>>);

impl Noise {
    /// The counts that the situation tells.
    pub fn none() -> Self {
        Self(None)
    }

    /// One draw of what might have been counted: requests by Poisson, bad ones by the binomial distribution.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Cell::new(seed)))
    }

    /// Whether chance has a hand in it.
    pub fn is_drawn(&self) -> bool {
        self.0.is_some()
    }

    /// The running numbers of the requests between two moments (seconds since a revision began to serve).
    pub fn requests(&self, rate: f64, (from, to): (i64, i64)) -> (u64, u64) {
        let first = whole(from as f64 * rate);
        match &self.0 {
            None => (first, whole(to as f64 * rate)),
            Some(_) => (first, first + self.poisson((to - from) as f64 * rate)),
        }
    }

    /// How many of them are bad.
    pub fn bad(&self, (first, last): (u64, u64), share: f64) -> u64 {
        match &self.0 {
            None => whole(last as f64 * share) - whole(first as f64 * share),
            Some(_) => self.binomial(last - first, share),
        }
    }

    pub fn poisson(&self, mean: f64) -> u64 {
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

    pub fn binomial(&self, requests: u64, share: f64) -> u64 {
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
    pub fn normal(&self) -> f64 {
        let radius = (-2.0 * self.uniform().max(f64::MIN_POSITIVE).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// A number between two, each as likely as the others.
    pub fn between(&self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// A number between two, each order of magnitude as likely as the others.
    pub fn scale(&self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }

    /// Whether something of this probability happens.
    pub fn happens(&self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// SplitMix64, as a number from 0 to 1.
    pub fn uniform(&self) -> f64 {
        let Some(state) = &self.0 else { return 0.5 };
        let mut z = state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        state.set(z);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Rounded down, but for what floating point leaves out.
fn whole(value: f64) -> u64 {
    (value + 1e-6) as u64
}
