//! TURN's Allocate request without credentials (RFC 8656, 7.1; RFC 8489, 5): a server with settings asks for
//! credentials, one without relays for everybody. A Binding request does not tell them apart: both answer it.

use crate::relay::Relay;

/// The id that ties an answer to its request: 96 random bits.
pub type Transaction = [u8; 12];

/// The longest answer that is read, in bytes: longer than any that UDP carries unfragmented.
pub const ANSWER_LIMIT: usize = 1500;

const HEADER: usize = 20;
const REQUEST: usize = HEADER + 8;
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

const ALLOCATE: [u8; 2] = [0x00, 0x03];
const SUCCESS: [u8; 2] = [0x01, 0x03];
const ERROR: [u8; 2] = [0x01, 0x13];
const REFRESH: [u8; 2] = [0x00, 0x04];

/// The attribute REQUESTED-TRANSPORT with the number of UDP.
const RELAY_OF_UDP: [u8; 8] = [0x00, 0x19, 0x00, 0x04, 17, 0, 0, 0];
/// The attribute LIFETIME of no seconds.
const NO_LIFETIME: [u8; 8] = [0x00, 0x0D, 0x00, 0x04, 0, 0, 0, 0];
const ERROR_CODE: [u8; 2] = [0x00, 0x09];

/// Returns the request for a relay with this transaction id, as a datagram.
pub fn request(transaction: Transaction) -> [u8; REQUEST] {
    message(ALLOCATE, transaction, RELAY_OF_UDP)
}

/// Returns the request that gives back the relay that the same socket has got, as a datagram.
pub fn release(transaction: Transaction) -> [u8; REQUEST] {
    message(REFRESH, transaction, NO_LIFETIME)
}

fn message(kind: [u8; 2], transaction: Transaction, attribute: [u8; 8]) -> [u8; REQUEST] {
    let mut datagram = [0; REQUEST];
    let bytes = kind.into_iter().chain([0, 8]).chain(MAGIC_COOKIE).chain(transaction).chain(attribute);
    datagram.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    datagram
}

/// Returns what a datagram says, if it answers the request with this transaction id.
pub fn answer(datagram: &[u8], transaction: Transaction) -> Option<Relay> {
    let (header, attributes) = datagram.split_first_chunk::<HEADER>()?;
    let [first, second, high, low, rest @ ..] = header;
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length != attributes.len() || !rest.iter().eq(MAGIC_COOKIE.iter().chain(&transaction)) {
        return None;
    }
    match [*first, *second] {
        SUCCESS => Some(Relay::Open),
        ERROR => error_code(attributes).map(Relay::refusing),
        _ => None,
    }
}

/// Returns the code of an error: a hundred of its class, and its number.
fn error_code(mut attributes: &[u8]) -> Option<u16> {
    while let Some(([first, second, high, low], rest)) = attributes.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        if [*first, *second] == ERROR_CODE {
            let [_, _, class, number] = rest.get(..length)?.first_chunk::<4>()?;
            return Some(u16::from(class & 0b111) * 100 + u16::from(*number));
        }
        // Attributes begin at multiples of four bytes.
        attributes = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Transaction = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

    fn response(kind: [u8; 2], attributes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
        [&kind[..], &length, &MAGIC_COOKIE, &ID, attributes].concat()
    }

    /// As coturn 4.6.1 answers: the code with its reason, then nonce and realm.
    fn error(code: u16) -> Vec<u8> {
        let code = [0, 0, u8::try_from(code / 100).unwrap(), u8::try_from(code % 100).unwrap()];
        let code = [&[0x00, 0x09, 0x00, 0x07][..], &code, b"Why", &[0]].concat();
        response(ERROR, &[code, vec![0x00, 0x14, 0x00, 0x03, b'o', b'r', b'g', 0]].concat())
    }

    #[test]
    fn the_requests_ask_for_a_relay_of_udp_and_give_it_back() {
        let ask = [&[0x00, 0x03, 0x00, 0x08, 0x21, 0x12, 0xa4, 0x42][..], &ID, &[0, 0x19, 0, 4, 17, 0, 0, 0]];
        assert_eq!(request(ID).as_slice(), ask.concat());
        let give = [&[0x00, 0x04, 0x00, 0x08, 0x21, 0x12, 0xa4, 0x42][..], &ID, &[0, 0x0d, 0, 4, 0, 0, 0, 0]];
        assert_eq!(release(ID).as_slice(), give.concat());
        assert_eq!(answer(&request(ID), ID), None, "an echo is no answer");
    }

    #[test]
    fn only_an_answer_to_this_request_counts() {
        for (good, expected) in [
            (response(SUCCESS, &[]), Relay::Open),
            (response(SUCCESS, &[0x00, 0x16, 0x00, 0x00]), Relay::Open),
            (error(401), Relay::Closed),
            (error(403), Relay::Refuses(403)),
            (error(486), Relay::Open),
        ] {
            assert_eq!(answer(&good, ID), Some(expected));
            assert_eq!(answer(&good, [7; 12]), None, "another request's");
            for end in 0..good.len() {
                assert_eq!(answer(&good[..end], ID), None, "cut off at {end}");
            }
            assert_eq!(answer(&[good.as_slice(), &[0]].concat(), ID), None, "longer than it says");
            for place in (0..2).chain(4..HEADER) {
                let mut other = good.clone();
                other[place] ^= 0x80;
                assert_eq!(answer(&other, ID), None, "another byte at {place}");
            }
        }
        assert_eq!(answer(&response([0x01, 0x01], &[]), ID), None, "of the method Binding");
        assert_eq!(answer(&response(ERROR, &[]), ID), None, "an error without a code");
        assert_eq!(answer(&response(ERROR, &[0x00, 0x09, 0x00, 0x02, 0, 0]), ID), None, "half a code");
        assert_eq!(
            answer(&response(ERROR, &[0x00, 0x14, 0xff, 0xff]), ID),
            None,
            "an attribute that is cut off"
        );
    }
}
