//! The connections to Redis on which a save that had nothing to write leaves its `WATCH`, so that a later change fails
//! although its client is alone: what the sandbox's `scalelite::StrayWatches` does, by the same draws.

/// The workers that were observed.
const WORKERS: usize = 2;

/// What is watched on each worker's connection.
pub(crate) struct Connections {
    rng: fastrand::Rng,
    /// The version of the set of entries at which a `WATCH` was left.
    watched: [Option<u64>; WORKERS],
}

impl Connections {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), watched: [None; WORKERS] }
    }

    /// The connection of the worker that serves the next request.
    fn next(&mut self) -> Option<&mut Option<u64>> {
        let worker = self.rng.usize(0..WORKERS);
        self.watched.get_mut(worker)
    }

    /// Sends a transaction, which ends what is watched. Whether it goes through.
    pub(super) fn execute(&mut self, version: u64) -> bool {
        self.next().and_then(Option::take).is_none_or(|watched| watched == version)
    }

    /// Sends none, because there is nothing to write.
    pub(super) fn leave(&mut self, version: u64) {
        if let Some(watched) = self.next() {
            watched.get_or_insert(version);
        }
    }
}
