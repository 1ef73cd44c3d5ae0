//! One kind of work on many things, by a few threads: what /proc and listmount(2) cost is the kernel's work, under locks
//! that readers share.

use std::sync::atomic::{AtomicUsize, Ordering};

/// So many things are done by the thread that asks.
const FEW: usize = 24;
const MAX_THREADS: usize = 4;
/// A thread takes so many at once: enough that taking costs nothing, and few enough that all end together, as some things
/// take a hundred times as long as others.
const AT_ONCE: usize = 8;

/// What `work` makes of the items, in their order. Each thread has a state of its own, which it begins with.
pub(super) fn in_shares<T: Sync, S, R: Send>(
    items: &[T],
    begin: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, &T) -> R + Sync,
) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(MAX_THREADS));
    if items.len() <= FEW || threads < 2 {
        let mut state = begin();
        return items.iter().map(|item| work(&mut state, item)).collect();
    }
    let next = AtomicUsize::new(0);
    let take = || {
        let (mut state, mut done) = (begin(), Vec::new());
        loop {
            let at = next.fetch_add(AT_ONCE, Ordering::Relaxed);
            let Some(some) = items.get(at..items.len().min(at + AT_ONCE)).filter(|some| !some.is_empty())
            else {
                return done;
            };
            done.push((at, some.iter().map(|item| work(&mut state, item)).collect::<Vec<R>>()));
        }
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(take)).collect();
        let mut done = take();
        for other in others {
            match other.join() {
                Ok(more) => done.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().flat_map(|(_, some)| some).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_once_and_in_order() {
        for count in [0, 1, FEW, FEW + 1, 97, 1000] {
            let items: Vec<usize> = (0..count).collect();
            let begun = AtomicUsize::new(0);
            let begin = || begun.fetch_add(1, Ordering::Relaxed);
            let done = in_shares(&items, begin, |_, item| item * 2);
            assert_eq!(done, items.iter().map(|item| item * 2).collect::<Vec<_>>());
            assert!(begun.into_inner() <= MAX_THREADS);
        }
    }
}
