//! One kind of work on many things, by a few threads: what /proc and listmount(2) cost is the kernel's work, under locks
//! that readers share.

/// So many things are done by the thread that asks.
const FEW: usize = 24;
const MAX_THREADS: usize = 4;

/// What `work` makes of the items, in their order; it is given a share of them.
pub(super) fn in_shares<T: Sync, R: Send>(items: &[T], work: impl Fn(&[T]) -> Vec<R> + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(MAX_THREADS));
    if items.len() <= FEW || threads < 2 {
        return work(items);
    }
    let (mine, others) = items.split_at(items.len().div_ceil(threads));
    std::thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> =
            others.chunks(mine.len()).map(|some| (some, scope.spawn(move || work(some)))).collect();
        let mut done = work(mine);
        for (some, worker) in workers {
            // A worker that could not be joined has panicked: then it is done once more, here, where that is seen.
            done.extend(worker.join().unwrap_or_else(|_| work(some)));
        }
        done
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_done_once_and_in_order() {
        for count in [0, 1, FEW, FEW + 1, 97, 1000] {
            let items: Vec<usize> = (0..count).collect();
            let done = in_shares(&items, |some| some.iter().map(|item| item * 2).collect());
            assert_eq!(done, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        }
    }
}
