//! YCSB's hash of a record's number: the 64-bit Fowler–Noll–Vo hash of its octets.

const OFFSET_BASIS: u64 = 0xCBF2_9CE4_8422_2325;
const PRIME: u64 = 1_099_511_628_211;

/// The prime to the power of the octets that are left: an octet of zero only multiplies.
const PRIME_POWERS: [u64; 9] = {
    let mut powers = [1; 9];
    let mut octets = 1;
    while octets < powers.len() {
        powers[octets] = PRIME.wrapping_mul(powers[octets - 1]);
        octets += 1;
    }
    powers
};

/// `Utils.fnvhash64` of YCSB: the octets from low to high, exclusive or and then multiply (FNV-1a), and `Math.abs` of
/// the result as a signed number. The upper octets of small numbers are zeros and cost one multiplication together.
#[inline]
pub(crate) fn fnv_hash64(number: u64) -> u64 {
    let mut hash = OFFSET_BASIS;
    let mut rest = number;
    let mut octets_left = 8;
    while rest != 0 {
        hash = (hash ^ (rest & 0xFF)).wrapping_mul(PRIME);
        rest >>= 8;
        octets_left -= 1;
    }
    hash.wrapping_mul(PRIME_POWERS[octets_left]).cast_signed().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_hash_of_all_eight_octets() {
        let plain = |number: u64| {
            let hash = number
                .to_le_bytes()
                .iter()
                .fold(OFFSET_BASIS, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(PRIME));
            hash.cast_signed().unsigned_abs()
        };
        for number in (0..70_000).chain([1 << 24, 1 << 32, (1 << 56) + 1, u64::MAX]) {
            assert_eq!(fnv_hash64(number), plain(number), "{number}");
        }
    }

    #[test]
    fn known_keys_of_ycsb() {
        // What `ycsb load` prints first, in many a bug report: user6284781860667377211 and user8517097267634966620.
        assert_eq!(fnv_hash64(0), 6_284_781_860_667_377_211);
        assert_eq!(fnv_hash64(1), 8_517_097_267_634_966_620);
    }
}
