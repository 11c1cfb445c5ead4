//! Random numbers that are the same on every machine: xoshiro256++ seeded by splitmix64 (Blackman and Vigna, 2019).
//!
//! Only integer operations and exact floating point steps are used (no logarithm, no platform library), so one seed
//! gives one patient everywhere. Each part of the anatomy draws from its own stream: a change in one part leaves the
//! others as they were.

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random {
    state: [u64; 4],
}

impl Random {
    /// Stream `stream` of `seed`; the streams of one seed are independent of each other.
    pub(crate) fn stream(seed: u64, stream: u64) -> Random {
        let mut mixed = seed ^ splitmix64(&mut stream.wrapping_mul(STREAM_STEP));
        Random { state: std::array::from_fn(|_| splitmix64(&mut mixed)) }
    }

    pub(crate) fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let result = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        result
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in [low, high).
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Uniform whole number in [low, high].
    pub(crate) fn count(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// One of `choices`, which must not be empty.
    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.count(0, choices.len() as u64 - 1) as usize]
    }

    /// Mean 0, standard deviation 1, nearly normal: the sum of the four 16-bit lanes of one draw (Irwin-Hall).
    /// The tails end at 3.5 deviations, which keeps every dimension of the patient within human limits.
    pub(crate) fn normal(&mut self) -> f64 {
        let bits = self.next();
        let sum: u64 = (0..4).map(|lane| (bits >> (16 * lane)) & 0xffff).sum();
        // The sum of four uniform lanes has mean 2 * 65535 and variance 4 * (2^32 - 1) / 12.
        (sum as f64 - 131_070.0) * (1.0 / 37_837.226)
    }
}

/// Odd constant (the golden ratio in 64 bits), so that neighbouring stream numbers start far apart.
const STREAM_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(STREAM_STEP);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_gives_the_published_values() {
        // First outputs for the seed 1234567, from the reference C code.
        let mut state = 1_234_567;
        let got = [splitmix64(&mut state), splitmix64(&mut state)];
        assert_eq!(got, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn moments_are_those_of_the_named_distributions() {
        let mut random = Random::stream(1, 2);
        let n = 20_000;
        let (mut sum, mut squares, mut unit) = (0.0, 0.0, 0.0);
        for _ in 0..n {
            let x = random.normal();
            sum += x;
            squares += x * x;
            unit += random.unit();
        }
        let n = f64::from(n);
        // Four standard errors of each mean.
        assert!((sum / n).abs() < 0.03 && (squares / n - 1.0).abs() < 0.04, "{sum} {squares}");
        assert!((unit / n - 0.5).abs() < 0.01, "{unit}");
    }

    #[test]
    fn streams_of_one_seed_differ() {
        let first = |seed, stream| Random::stream(seed, stream).next();
        assert_ne!(first(1, 0), first(1, 1));
        assert_ne!(first(1, 0), first(2, 0));
        assert_eq!(first(7, 3), first(7, 3));
    }
}
