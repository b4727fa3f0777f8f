//! Checksums of the input, byte for byte as it was sent: SHA-256, CRC-32 and Adler-32, from the standard library alone.

use std::io::{self, Read, Write};

/// Read in pieces: memory stays small however long the input is.
const PIECE_BYTES: usize = 16 * 1024;
const BLOCK_BYTES: usize = 64;

/// SHA-256 as FIPS 180-4 describes it.
struct Sha256 {
    state: [u32; 8],
    block: [u8; BLOCK_BYTES],
    filled: usize,
    length_bytes: u64,
}

#[rustfmt::skip]
const ROUND: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

impl Sha256 {
    fn new() -> Self {
        Sha256 {
            state: [
                0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
            ],
            block: [0; BLOCK_BYTES],
            filled: 0,
            length_bytes: 0,
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        self.length_bytes += bytes.len() as u64;
        for &byte in bytes {
            self.push(byte);
        }
    }

    fn push(&mut self, byte: u8) {
        self.block[self.filled] = byte;
        self.filled += 1;
        if self.filled == BLOCK_BYTES {
            self.compress();
            self.filled = 0;
        }
    }

    fn compress(&mut self) {
        let mut words = [0u32; 64];
        for (word, bytes) in words.iter_mut().zip(self.block.chunks_exact(4)) {
            *word = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        for i in 16..64 {
            let (a, b) = (words[i - 15], words[i - 2]);
            let s0 = a.rotate_right(7) ^ a.rotate_right(18) ^ (a >> 3);
            let s1 = b.rotate_right(17) ^ b.rotate_right(19) ^ (b >> 10);
            words[i] = words[i - 16].wrapping_add(s0).wrapping_add(words[i - 7]).wrapping_add(s1);
        }
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = self.state;
        for i in 0..64 {
            let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
            let choice = (e & f) ^ (!e & g);
            let first = h.wrapping_add(s1).wrapping_add(choice).wrapping_add(ROUND[i]).wrapping_add(words[i]);
            let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
            let majority = (a & b) ^ (a & c) ^ (b & c);
            h = g;
            g = f;
            f = e;
            e = d.wrapping_add(first);
            d = c;
            c = b;
            b = a;
            a = first.wrapping_add(s0.wrapping_add(majority));
        }
        for (word, add) in self.state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *word = word.wrapping_add(add);
        }
    }

    fn finish(mut self) -> [u32; 8] {
        let length_bits = self.length_bytes * 8;
        self.push(0x80);
        while self.filled != BLOCK_BYTES - 8 {
            self.push(0);
        }
        for byte in length_bits.to_be_bytes() {
            self.push(byte);
        }
        self.state
    }
}

/// CRC-32 of ISO 3309, as zip, gzip and PNG use it.
fn crc32_table() -> [u32; 256] {
    let mut table = [0u32; 256];
    for (number, entry) in table.iter_mut().enumerate() {
        let mut crc = number as u32;
        for _ in 0..8 {
            crc = if crc & 1 == 1 { 0xedb88320 ^ (crc >> 1) } else { crc >> 1 };
        }
        *entry = crc;
    }
    table
}

fn main() -> io::Result<()> {
    let table = crc32_table();
    let (mut sha, mut crc, mut low, mut high) = (Sha256::new(), !0u32, 1u32, 0u32);
    let mut piece = [0u8; PIECE_BYTES];
    let mut stdin = io::stdin().lock();
    loop {
        let count = stdin.read(&mut piece)?;
        if count == 0 {
            break;
        }
        let bytes = &piece[..count];
        sha.update(bytes);
        for &byte in bytes {
            crc = table[((crc ^ u32::from(byte)) & 0xff) as usize] ^ (crc >> 8);
            low = (low + u32::from(byte)) % 65_521;
            high = (high + low) % 65_521;
        }
    }
    let length_bytes = sha.length_bytes;
    let digest: String = sha.finish().iter().map(|word| format!("{:08x}", word)).collect();
    let adler = (high << 16) | low;
    writeln!(
        io::stdout(),
        "{{\"bytes\":{},\"sha256\":\"{}\",\"crc32\":\"{:08x}\",\"adler32\":\"{:08x}\"}}",
        length_bytes, digest, !crc, adler
    )
}
