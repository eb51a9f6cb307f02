//! Hours and days in the life of a service, on a clock that is moved by hand.
//!
//! A program of its own, because the clock is moved only while all threads of this process sleep (see [`process`]): other
//! tests in it would keep them awake.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod process;
mod steady;
mod sweeping;
