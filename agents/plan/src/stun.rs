//! STUN's binding request, which every STUN and TURN server answers without credentials (RFC 8489, 2.2 and 5): a test
//! whether the server is alive.

/// The id that ties an answer to its request: 96 random bits.
pub type Transaction = [u8; 12];

/// The longest answer that is read, in bytes: longer than any that UDP carries unfragmented.
pub const ANSWER_LIMIT: usize = 1500;

const HEADER: usize = 20;
/// A request of the method Binding (RFC 8489, 5), without attributes.
const BINDING_REQUEST: [u8; 4] = [0x00, 0x01, 0x00, 0x00];
/// The answers: success, and error, as from a server that requires credentials for this too (coturn with `secure-stun`
/// answers 401; with `no-stun` it is silent; observed on 4.6.1).
const ANSWERS: [[u8; 2]; 2] = [[0x01, 0x01], [0x01, 0x11]];
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// Returns the request with this transaction id, as a datagram.
pub fn request(transaction: Transaction) -> [u8; HEADER] {
    let mut datagram = [0; HEADER];
    let bytes = BINDING_REQUEST.into_iter().chain(MAGIC_COOKIE).chain(transaction);
    datagram.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    datagram
}

/// Tells whether a datagram answers the request with this transaction id.
pub fn answers(datagram: &[u8], transaction: Transaction) -> bool {
    let Some((header, attributes)) = datagram.split_first_chunk::<HEADER>() else { return false };
    let [first, second, high, low, rest @ ..] = header;
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let expected = MAGIC_COOKIE.iter().chain(&transaction);
    ANSWERS.contains(&[*first, *second]) && length == attributes.len() && rest.iter().eq(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The sample of RFC 5769, 2.2: a binding response (here without its authentication, which the agent does not
    // check).
    const ID: Transaction = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

    fn response(kind: [u8; 2]) -> Vec<u8> {
        // XOR-MAPPED-ADDRESS of 192.0.2.1 port 32853.
        let address = [0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        [&kind[..], &[0x00, 0x0c], &MAGIC_COOKIE, &ID, &address].concat()
    }

    #[test]
    fn the_request_is_a_header_alone() {
        let expected = [&[0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42][..], &ID].concat();
        assert_eq!(request(ID).as_slice(), expected);
        assert!(!answers(&request(ID), ID), "an echo is no answer");
    }

    #[test]
    fn only_an_answer_to_this_request_counts() {
        let good = response([0x01, 0x01]);
        assert!(answers(&good, ID));
        assert!(answers(&response([0x01, 0x11]), ID), "an error is an answer");
        assert!(!answers(&response([0x00, 0x01]), ID));
        assert!(!answers(&response([0x01, 0x13]), ID), "of the method Allocate");
        assert!(!answers(&good, [7; 12]), "another request's");
        for end in 0..good.len() {
            assert!(!answers(&good[..end], ID), "cut off at {end}");
        }
        assert!(!answers(&[good.as_slice(), &[0]].concat(), ID), "longer than it says");
        for place in 0..HEADER {
            let mut other = good.clone();
            other[place] ^= 0x80;
            assert!(!answers(&other, ID), "another byte at {place}");
        }
    }
}
