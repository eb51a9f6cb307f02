//! Targets for both ends of the control socket.

use host::control::message::{self, Error, LIMIT};
use host::control::{Reply, Request};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{check_error, now};

/// Checks the service's reading of a command's lines.
pub(crate) fn request(input: &[u8]) {
    each::<Request>(input);
}

/// Checks a command's reading of the service's lines.
pub(crate) fn reply(input: &[u8]) {
    each::<Reply>(input);
}

/// Reads all messages: each reads the same after it was written again, and reading ends.
fn each<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(mut input: &[u8]) {
    loop {
        let before = input.len();
        match now(message::receive::<T>(&mut input)) {
            Ok(None) => return assert_eq!(before, 0),
            Ok(Some(message)) => {
                assert!(input.len() < before && before - input.len() <= LIMIT);
                match message::encode(&message) {
                    Ok(line) => {
                        assert!(line.ends_with(b"\n") && !line[..line.len() - 1].contains(&b'\n'));
                        assert_eq!(now(message::receive::<T>(&mut line.as_slice())).unwrap(), Some(message));
                    }
                    Err(error) => assert!(matches!(error, Error::TooLong), "{error}"),
                }
            }
            Err(error) => return check_error(&error.to_string()),
        }
    }
}
