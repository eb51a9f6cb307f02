//! Answers to `getMeetings` as real hosts have given them, in the shape of public reports; serve one with
//! [`super::BbbHost::set_listing`].

/// One meeting that has been listed for years: nobody ever joined it, and it cannot be ended.
pub const NEVER_JOINED: &str = include_str!("../../cases/meetings/never-joined.xml");
/// One meeting that BBB has ended and lists nevertheless.
pub const FORCIBLY_ENDED: &str = include_str!("../../cases/meetings/forcibly-ended.xml");
/// A meeting with two people and a part of a breakout room, where BBB's template broke off.
pub const CUT_OFF: &str = include_str!("../../cases/meetings/cut-off.xml");
/// A meeting with one person, who joined with the parameter `userdata-1st`.
pub const ELEMENT_NAME: &str = include_str!("../../cases/meetings/element-name.xml");
/// A meeting with a thousand people, printed `1,000`.
pub const THOUSAND: &str = include_str!("../../cases/meetings/thousand.xml");
/// Three breakout rooms with six people each, whose parent is not listed.
pub const ORPHAN_BREAKOUTS: &str = include_str!("../../cases/meetings/orphan-breakouts.xml");
