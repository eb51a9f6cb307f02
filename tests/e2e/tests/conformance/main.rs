//! Second opinions on the stand-ins and the shipped policies: the real SDK against the sandbox, and the real agents against
//! MiniStack, an emulator by other people.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod independent;
mod ministack;
mod policies;
mod sdk;
