//! Memory kept for the next who asks: after the first series a job allocates nothing.

/// Idle blocks of memory, known by their bytes.
#[derive(Debug)]
pub struct Pool<B> {
    idle: Vec<(usize, B)>,
}

impl<B> Default for Pool<B> {
    fn default() -> Pool<B> {
        Pool { idle: Vec::new() }
    }
}

/// What is allocated is rounded up to this, so that arrays of nearly the same length share blocks. Alignment of
/// `cuMemAlloc`.
const GRAIN: usize = 256;

impl<B> Pool<B> {
    /// What to allocate for an array of `bytes`.
    pub fn rounded(bytes: usize) -> usize {
        bytes.next_multiple_of(GRAIN)
    }

    /// The smallest idle block that holds `bytes` and is not more than twice as large: a large one is left to large arrays.
    pub fn take(&mut self, bytes: usize) -> Option<(usize, B)> {
        let most = 2 * Self::rounded(bytes);
        let fits = |&(_, &(size, _)): &(usize, &(usize, B))| size >= bytes && size <= most;
        let best = self.idle.iter().enumerate().filter(fits).min_by_key(|(_, (size, _))| *size);
        let (place, _) = best?;
        Some(self.idle.swap_remove(place))
    }

    pub fn give(&mut self, bytes: usize, block: B) {
        self.idle.push((bytes, block));
    }

    /// Every idle block, to be freed: memory is short.
    pub fn drain(&mut self) -> impl Iterator<Item = B> {
        self.idle.drain(..).map(|(_, block)| block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_block_that_fits_is_taken_and_large_ones_are_left() {
        let mut pool = Pool::default();
        pool.give(4096, 'l');
        pool.give(1024, 'm');
        pool.give(512, 's');
        assert_eq!(pool.take(600), Some((1024, 'm')));
        assert_eq!(pool.take(600), None);
        assert_eq!(pool.take(400), Some((512, 's')));
        assert_eq!(pool.drain().collect::<Vec<_>>(), ['l']);
        assert_eq!(Pool::<char>::rounded(257), 512);
    }
}
