//! The vendor's signature: what makes bytes a supervisor. Ed25519 and SHA-512 by `salty` (ARCHITECTURE.md, "Dependencies").

use link::image::{DIGEST, SIGNATURE, SIGNED};

/// The public key whose images run (RFC 8032 section 5.1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VendorKey(pub [u8; 32]);

impl VendorKey {
    /// The key of the bench, whose seed everybody knows ([`crate::bench::VENDOR_SEED`]). No product trusts it.
    pub const BENCH: VendorKey = VendorKey([
        0xed, 0xea, 0x69, 0x76, 0xcd, 0x59, 0x54, 0x23, 0x43, 0x25, 0xef, 0x70, 0x90, 0x13, 0x7a,
        0x89, 0xde, 0xa2, 0xb0, 0xa9, 0x3b, 0x9d, 0xb8, 0xad, 0x6a, 0x41, 0x7a, 0x1f, 0x04, 0x96,
        0xf5, 0xb2,
    ]);

    /// A key as `sagitta mcu key` prints it; fails at compile time where these are no 64 small hexadecimal digits.
    pub const fn of_digits(digits: &str) -> VendorKey {
        let digits = digits.as_bytes();
        assert!(digits.len() == 64, "a vendor's key has 64 hexadecimal digits");
        let (mut key, mut n) = ([0; 32], 0);
        while n < 64 {
            let digit = match digits[n] {
                digit @ b'0'..=b'9' => digit - b'0',
                digit @ b'a'..=b'f' => digit - b'a' + 10,
                _ => panic!("a vendor's key has 64 hexadecimal digits"),
            };
            key[n / 2] = key[n / 2] << 4 | digit;
            n += 1;
        }
        VendorKey(key)
    }

    /// Whether the vendor signed these bytes of a header. A key that is no point of the curve has signed nothing.
    pub fn signed(&self, header: &[u8; SIGNED], signature: &[u8; SIGNATURE]) -> bool {
        let Ok(key) = salty::PublicKey::try_from(&self.0) else { return false };
        key.verify(header, &salty::Signature::from(signature)).is_ok()
    }
}

/// SHA-512 of bytes that come in parts.
#[derive(Default)]
pub struct Digest(salty::Sha512);

impl core::fmt::Debug for Digest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Digest")
    }
}

impl Digest {
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> [u8; DIGEST] {
        self.0.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::VENDOR_SEED;

    #[test]
    fn the_bench_trusts_its_own_seed() {
        let keys = salty::Keypair::from(&VENDOR_SEED);
        assert_eq!(*keys.public.as_bytes(), VendorKey::BENCH.0);
        let header = [7; SIGNED];
        let signature = keys.sign(&header).to_bytes();
        assert!(VendorKey::BENCH.signed(&header, &signature));
        for bit in 0..8 * SIGNED {
            let mut changed = header;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!VendorKey::BENCH.signed(&changed, &signature), "bit {bit}");
        }
        assert!(!VendorKey([0xff; 32]).signed(&header, &signature));
    }

    #[test]
    fn a_key_is_read_from_its_digits() {
        let digits: std::string::String =
            VendorKey::BENCH.0.iter().map(|byte| std::format!("{byte:02x}")).collect();
        assert_eq!(VendorKey::of_digits(&digits), VendorKey::BENCH);
    }

    /// RFC 6234 section 8.5, test 1 of SHA-512.
    #[test]
    fn the_digest_is_sha_512() {
        let mut digest = Digest::default();
        digest.update(b"a");
        digest.update(b"bc");
        assert_eq!(digest.finish()[..8], [0xdd, 0xaf, 0x35, 0xa1, 0x93, 0x61, 0x7a, 0xba]);
    }
}
