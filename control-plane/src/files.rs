//! Small files that only the platform's own user may read: the master key, the tokens.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;
use authsome_shared::secret::Secret;
use uuid::Uuid;

/// Makes sure that the data directory is there and can be written to.
pub fn prepare_data_dir(path: &Path) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot create the data directory {}", path.display()))?;
    let probe = path.join(".writable");
    fs::write(&probe, b"")
        .and_then(|()| fs::remove_file(&probe))
        .with_context(|| format!("the data directory {} is not writable", path.display()))
}

/// The secret in the file, trimmed; when there is no such file, a new one of mode 0600. Whoever
/// comes at the same time, or after a crash, finds the whole secret or none.
pub fn secret_or_create(
    path: &Path,
    create: impl FnOnce() -> String,
) -> anyhow::Result<Secret<String>> {
    if !path.exists() {
        let draft = path.with_extension(format!("{}.tmp", Uuid::now_v7().simple()));
        write_new(&draft, create().as_bytes())?;
        // A link, unlike a rename, leaves a file alone that another has just made.
        let linked = fs::hard_link(&draft, path);
        fs::remove_file(&draft).with_context(|| format!("cannot remove {}", draft.display()))?;
        match linked {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("cannot create {}", path.display()));
            }
            _ => {}
        }
    }
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Secret::new(text.trim().to_owned()))
}

fn write_new(path: &Path, contents: &[u8]) -> anyhow::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(contents).and_then(|()| file.sync_all()))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Replaces a file as a whole, readable for its owner only.
pub fn write_private(path: &Path, contents: &[u8]) -> anyhow::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .with_context(|| format!("cannot write {}", temporary.display()))?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&temporary, path).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_parallel_creations_all_see_one_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let create = |n: usize| secret_or_create(&path, || format!("secret {n}")).unwrap();
        let secrets: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|n| scope.spawn(move || create(n))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(secrets[0].expose().starts_with("secret "));
        assert!(secrets.iter().all(|secret| secret == &secrets[0]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }
}
