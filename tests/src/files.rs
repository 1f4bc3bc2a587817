//! Looking into a data folder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Every file below, in no particular order.
pub fn all(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

/// The permission bits.
pub fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file is there").permissions().mode() & 0o777
}

/// Every secret key in the bytes: `sk_live_` or `sk_test_` and at least 20 characters. The mask
/// in which keys are listed (`sk_live_abc123***`) is shorter.
pub fn secret_keys(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for start in 0..bytes.len() {
        let rest = &bytes[start..];
        if !(rest.starts_with(b"sk_live_") || rest.starts_with(b"sk_test_")) {
            continue;
        }
        let length = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_');
        let length = length.count();
        if length >= 28 {
            found.push(String::from_utf8_lossy(&rest[..length]).into_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_key_is_found_and_its_mask_is_not() {
        let key = "sk_live_0123456789ABCDEFGHIJKLMNOPQRSTUVWX012345";
        assert_eq!(secret_keys(format!("x{key}\"").as_bytes()), [key]);
        assert!(secret_keys(b"sk_live_012345*** sk_ sk_live_").is_empty());
    }
}
