//! Identifiers out of the host's seed.

/// A random (version 4) UUID, RFC 9562, from the 32 bytes of `context.seed`; another one for each
/// `index` of the same call.
pub fn uuid(seed: &[u8], index: u32) -> String {
    let mut bytes = [0_u8; 16];
    for (to, from) in bytes.iter_mut().zip(seed) {
        *to = *from;
    }
    for (to, from) in bytes.iter_mut().rev().zip(index.to_le_bytes()) {
        *to ^= from;
    }
    let bits = u128::from_be_bytes(bytes);
    let bits = (bits & !(0xf << 76)) | (0x4 << 76); // version 4
    let bits = (bits & !(0x3 << 62)) | (0x2 << 62); // variant 10
    let hex = format!("{bits:032x}");
    let mut text = String::with_capacity(36);
    for (place, letter) in hex.chars().enumerate() {
        if matches!(place, 8 | 12 | 16 | 20) {
            text.push('-');
        }
        text.push(letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_version_four_and_differs_by_index() {
        assert_eq!(uuid(&[0xff; 32], 0), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid(&[0; 32], 0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(&[0; 32], 258), "00000000-0000-4000-8000-000000000102");
        assert_eq!(uuid(&[], 1), "00000000-0000-4000-8000-000000000001");
    }
}
