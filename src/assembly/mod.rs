//! Frames become a complete set of tensors or nothing.
//!
//! Owns: offsets, checksums, the bytes that have arrived. May not touch: streams, protobuf, runs.

/// CRC-32/ISCSI (Castagnoli) of `data`.
pub fn crc32c(data: &[u8]) -> u32 {
    crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, data) as u32
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_value_of_the_catalogue() {
        assert_eq!(super::crc32c(b"123456789"), 0xe306_9283);
    }
}
