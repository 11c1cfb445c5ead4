//! A small parallel loop for the kernels: scoped threads that take the next item from a counter.
//!
//! Items are handed out one by one, so that a core which is busy elsewhere only takes fewer of
//! them. Results must not depend on the order: every item owns its output. There is no pool;
//! starting a thread costs tens of microseconds, so one call should be worth a millisecond or more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Cores this process may use, at least 1.
pub fn available() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Calls `work(item)` once for every item of `0..items`, on at most `threads` threads including the
/// caller's.
///
/// A thread that the system refuses to start costs speed, not the result. A panic of `work` reaches
/// the caller once the other threads have come to rest.
pub fn parallel_for(threads: usize, items: usize, work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let take_until_empty = || {
        loop {
            let item = next.fetch_add(1, Ordering::Relaxed);
            if item >= items {
                break;
            }
            work(item);
        }
    };
    with_helpers(threads.min(items), &take_until_empty);
}

/// Cuts `values` into chunks of `length` (the last may be shorter) and calls `work(number, chunk)`
/// once for each, on at most `threads` threads. A `length` of 0 is taken as 1.
pub fn parallel_chunks<T: Send>(
    threads: usize,
    values: &mut [T],
    length: usize,
    work: impl Fn(usize, &mut [T]) + Sync,
) {
    let length = length.max(1);
    let items = values.len().div_ceil(length);
    let chunks = Mutex::new(values.chunks_mut(length).enumerate());
    let take_until_empty = || {
        loop {
            // The lock is held only while the iterator steps, so a panic of `work`
            // cannot poison it.
            let taken = chunks.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((number, chunk)) = taken else { break };
            work(number, chunk);
        }
    };
    with_helpers(threads.min(items), &take_until_empty);
}

/// What `work` makes of each item, in the order of the items; on at most `threads` threads.
pub fn parallel_map<T, R: Default + Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R>
where
    T: Sync,
{
    let mut made: Vec<R> = items.iter().map(|_| R::default()).collect();
    parallel_chunks(threads, &mut made, 1, |n, made| {
        made.iter_mut().zip(&items[n..]).for_each(|(made, item)| *made = work(item));
    });
    made
}

/// Runs `worker` on the calling thread and on `threads - 1` more.
fn with_helpers(threads: usize, worker: &(impl Fn() + Sync)) {
    if threads <= 1 {
        return worker();
    }
    std::thread::scope(|scope| {
        for _ in 1..threads {
            if std::thread::Builder::new().spawn_scoped(scope, worker).is_err() {
                break;
            }
        }
        worker();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_runs_exactly_once() {
        for (threads, items) in [(0, 3), (1, 0), (1, 5), (3, 1), (4, 1000)] {
            let counts: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
            parallel_for(threads, items, |i| {
                counts[i].fetch_add(1, Ordering::Relaxed);
            });
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 1), "{threads} {items}");
        }
    }

    #[test]
    fn chunks_cover_the_slice_in_their_places() {
        for (threads, length) in [(1, 4), (3, 1), (2, 7), (2, 100), (2, 0)] {
            let mut values = vec![usize::MAX; 23];
            parallel_chunks(threads, &mut values, length, |number, chunk| {
                for (i, value) in chunk.iter_mut().enumerate() {
                    *value = number * length.max(1) + i;
                }
            });
            assert!(values.iter().copied().eq(0..23), "{threads} {length}");
        }
    }

    #[test]
    fn made_things_keep_the_order_of_their_items() {
        let items: Vec<usize> = (0..23).collect();
        let squares: Vec<usize> = items.iter().map(|n| n * n).collect();
        for threads in [0, 1, 3, 40] {
            assert_eq!(parallel_map(threads, &items, |n| n * n), squares);
        }
        assert!(parallel_map(2, &[], |n: &usize| *n).is_empty());
    }

    #[test]
    fn a_panic_of_the_work_reaches_the_caller() {
        let run = || parallel_for(2, 10, |i| assert!(i != 7, "item seven"));
        assert!(std::panic::catch_unwind(run).is_err());
    }
}
