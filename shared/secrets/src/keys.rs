//! Keys, and texts encrypted by them.
//!
//! A key is 32 bytes in URL-safe base64, as Airflow's Fernet keys are; several are separated by commas, the first encrypts, all decrypt. A
//! sealed text is `x1:KEY:BASE64`: the kind of cipher (XChaCha20-Poly1305), which key, and the drawn nonce before what it encrypted.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key as CipherKey, XChaCha20Poly1305, XNonce};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use updraft_metastore::seal::Seal;

/// The kind of cipher of what is written now.
const KIND: &str = "x1";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// Why keys cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// One is no key. It is not shown.
    #[error(
        "the Fernet key number {0} is no key: it must be 32 bytes in URL-safe base64, 44 characters; draw one with \
             `head -c 32 /dev/urandom | base64 | tr '+/' '-_'`"
    )]
    NoKey(usize),
    /// There is none at all.
    #[error("there is no Fernet key in it")]
    None,
    /// The file of keys cannot be read or written.
    #[error("the file of the Fernet keys, `{0}`: {1}")]
    File(PathBuf, String),
    /// No randomness is to be had.
    #[error("no key or nonce could be drawn: {0}")]
    Random(String),
}

/// One key, known by the beginning of its digest.
#[derive(Clone)]
struct Key {
    id: String,
    cipher: XChaCha20Poly1305,
}

/// Keys, the first of which encrypts. Their `Debug` shows which, not what they are.
#[derive(Clone)]
pub struct Keys(Vec<Key>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

/// Draws a new key.
///
/// # Errors
/// [`KeyError::Random`].
pub fn draw_key() -> Result<String, KeyError> {
    Ok(URL_SAFE.encode(drawn::<KEY_BYTES>()?))
}

fn drawn<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| KeyError::Random(error.to_string()))?;
    Ok(bytes)
}

impl Keys {
    /// Reads keys, separated by commas.
    ///
    /// # Errors
    /// [`KeyError::NoKey`] with the number of what is none, and [`KeyError::None`].
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let texts: Vec<&str> = text.split(',').map(str::trim).filter(|text| !text.is_empty()).collect();
        let keys: Result<Vec<Key>, KeyError> =
            texts.iter().enumerate().map(|(at, text)| Key::parse(text).ok_or(KeyError::NoKey(at + 1))).collect();
        let keys = keys?;
        if keys.is_empty() { Err(KeyError::None) } else { Ok(Self(keys)) }
    }
}

impl Key {
    fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
        let bytes: [u8; KEY_BYTES] = bytes.try_into().ok()?;
        let digest = Sha256::digest(bytes);
        let id = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        Some(Self { id, cipher: XChaCha20Poly1305::new(&CipherKey::from(bytes)) })
    }
}

impl Seal for Keys {
    fn seal(&self, name: &str, text: &str) -> Result<String, String> {
        let key = self.0.first().ok_or("there is no key")?;
        let nonce = drawn::<NONCE_BYTES>().map_err(|error| error.to_string())?;
        let payload = Payload { msg: text.as_bytes(), aad: name.as_bytes() };
        let encrypted = key.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| "the cipher refused it")?;
        let bytes = [&nonce[..], &encrypted].concat();
        Ok(format!("{KIND}:{}:{}", key.id, STANDARD_NO_PAD.encode(bytes)))
    }

    fn open(&self, name: &str, sealed: &str) -> Result<String, String> {
        let mut parts = sealed.splitn(3, ':');
        let (Some(KIND), Some(id), Some(text)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("it was encrypted in a way that this version does not know".to_owned());
        };
        let Some(key) = self.0.iter().find(|key| key.id == id) else {
            return Err(format!("it was encrypted by the Fernet key {id}, which is not among those that are set here"));
        };
        let damaged = || "it was changed since it was encrypted, or is another item's".to_owned();
        let bytes = STANDARD_NO_PAD.decode(text).map_err(|_| damaged())?;
        let (nonce, encrypted) = bytes.split_at_checked(NONCE_BYTES).ok_or_else(damaged)?;
        let nonce: [u8; NONCE_BYTES] = nonce.try_into().map_err(|_| damaged())?;
        let payload = Payload { msg: encrypted, aad: name.as_bytes() };
        let text = key.cipher.decrypt(&XNonce::from(nonce), payload).map_err(|_| damaged())?;
        String::from_utf8(text).map_err(|_| damaged())
    }

    fn is_current(&self, sealed: &str) -> bool {
        self.0.first().is_some_and(|key| sealed.starts_with(&format!("{KIND}:{}:", key.id)))
    }
}

/// The keys of a home directory: a file that its owner alone may read. It is read anew for each use, so that a server notices a rotation.
#[derive(Debug, Clone)]
pub struct HomeKeys {
    file: PathBuf,
}

impl HomeKeys {
    /// The keys in this file, which need not be there yet.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into() }
    }

    /// Makes the file with a drawn key, if it is not there.
    ///
    /// # Errors
    /// [`KeyError::File`].
    pub fn ensure(&self) -> Result<(), KeyError> {
        if self.file.exists() { Ok(()) } else { self.write(&[draw_key()?], false) }
    }

    /// Draws a key and puts it before the one in use, which stays for what others are just writing; older ones go.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn renew(&self) -> Result<(), KeyError> {
        self.ensure()?;
        let was = self.text()?;
        let was = was.split(',').next().unwrap_or_default().trim().to_owned();
        self.write(&[draw_key()?, was], true)
    }

    fn text(&self) -> Result<String, KeyError> {
        std::fs::read_to_string(&self.file).map_err(|error| KeyError::File(self.file.clone(), error.to_string()))
    }

    fn keys(&self) -> Result<Keys, KeyError> {
        Keys::parse(&self.text()?)
    }

    /// Written beside it and renamed, so that nobody reads half a file. Temporary files are their owner's alone.
    fn write(&self, keys: &[String], over: bool) -> Result<(), KeyError> {
        let failed = |error: std::io::Error| KeyError::File(self.file.clone(), error.to_string());
        let folder = self.file.parent().unwrap_or_else(|| Path::new("."));
        let mut draft = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
        writeln!(draft, "{}", keys.join(",")).and_then(|()| draft.as_file().sync_all()).map_err(failed)?;
        if over {
            draft.persist(&self.file).map_err(|error| failed(error.error))?;
            return Ok(());
        }
        match draft.persist_noclobber(&self.file) {
            // Somebody else made it at the same moment.
            Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(failed(error.error)),
            Ok(_) => Ok(()),
        }
    }
}

impl Seal for HomeKeys {
    fn seal(&self, name: &str, text: &str) -> Result<String, String> {
        self.ensure().and_then(|()| self.keys()).map_err(|error| error.to_string())?.seal(name, text)
    }

    fn open(&self, name: &str, sealed: &str) -> Result<String, String> {
        self.keys().map_err(|error| error.to_string())?.open(name, sealed)
    }

    fn is_current(&self, sealed: &str) -> bool {
        self.keys().is_ok_and(|keys| keys.is_current(sealed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;
    use updraft_metastore::memory::Memory;
    use updraft_metastore::{Items, Metastore, Range};
    use updraft_model::{Connection, Variable};

    fn keys(texts: &[&str]) -> Keys {
        Keys::parse(&texts.join(",")).expect("they are keys")
    }

    #[test]
    fn what_is_sealed_opens_by_its_key_and_in_its_place_alone() {
        let (one, two) = (draw_key().unwrap(), draw_key().unwrap());
        let sealed = keys(&[&one]).seal("VARIABLES/a", "hunter22").unwrap();
        assert!(!sealed.contains("hunter22"));
        assert_ne!(sealed, keys(&[&one]).seal("VARIABLES/a", "hunter22").unwrap(), "the nonce is drawn each time");
        assert_eq!(keys(&[&two, &one]).open("VARIABLES/a", &sealed).as_deref(), Ok("hunter22"));
        assert!(keys(&[&one]).is_current(&sealed) && !keys(&[&two, &one]).is_current(&sealed));
        assert!(keys(&[&two]).open("VARIABLES/a", &sealed).unwrap_err().contains("not among"));
        assert!(keys(&[&one]).open("VARIABLES/b", &sealed).unwrap_err().contains("another item"));
        for at in [KIND.len() + 12, sealed.len() - 1] {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(keys(&[&one]).open("VARIABLES/a", &changed).is_err(), "{at}");
        }
        for text in ["", "x1", "x1:0", "x2:00000000:AAAA", &format!("{}:", &sealed[..11])] {
            assert!(keys(&[&one]).open("VARIABLES/a", text).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_are_read_as_airflow_writes_them_and_never_shown() {
        let airflows = "cryptography_not_found_storing_passwords_1=";
        assert_eq!(Keys::parse(airflows).map(|_| ()), Err(KeyError::NoKey(1)));
        let good = "81HqDtbqAywKSOumSha3BhWNOdQ26slT6K0YaZeZyPs=";
        assert!(Keys::parse(good).is_ok());
        assert_eq!(Keys::parse(" , ").map(|_| ()), Err(KeyError::None));
        let said = Keys::parse(&format!("{good},{good}x")).unwrap_err().to_string();
        assert!(said.contains("number 2") && !said.contains("81Hq"), "{said}");
        assert!(!format!("{:?}", keys(&[good])).contains("81Hq"));
    }

    #[test]
    fn a_home_has_a_key_of_its_owners_alone() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("fernet_key");
        let ours = HomeKeys::new(&file);
        let sealed = ours.seal("n", "text").unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let first = std::fs::read_to_string(&file).unwrap();
        ours.ensure().unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), first, "it is made once");
        // Another process renews it, and this one goes on.
        HomeKeys::new(&file).renew().unwrap();
        assert_eq!(ours.open("n", &sealed).as_deref(), Ok("text"));
        assert!(!ours.is_current(&sealed) && ours.is_current(&ours.seal("n", "text").unwrap()));
        ours.renew().unwrap();
        assert!(ours.open("n", &sealed).is_err(), "the one before the last is gone");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    async fn texts(store: &Metastore<Arc<Memory>>) -> String {
        let mut all = String::new();
        for pk in ["VARIABLES", "CONNECTIONS"] {
            let range = Range { pk: pk.to_owned(), prefix: String::new(), after: None, descending: false, limit: 100 };
            all.extend([format!("{:?}", store.items().query(&range).await.unwrap())]);
        }
        all
    }

    #[tokio::test]
    async fn the_metastore_keeps_no_secret_in_clear_and_reads_what_it_once_kept_so() {
        let items = Arc::new(Memory::default());
        let clear = Metastore::new(items.clone());
        let variable = |key: &str| Variable { key: key.to_owned(), val: "hunter22".to_owned(), description: None };
        clear.put_variable(&variable("old")).await.unwrap();
        let (one, two) = (draw_key().unwrap(), draw_key().unwrap());
        let with = |texts: &[&str]| Metastore::new(items.clone()).sealed_by(Some(Arc::new(keys(texts))));
        let store = with(&[&one]);
        store.put_variable(&variable("new")).await.unwrap();
        assert!(store.add_variable(&variable("added")).await.unwrap());
        assert!(store.add_variable(&variable("added")).await.unwrap(), "a write that is repeated finds itself");
        let other = Variable { val: "other".to_owned(), ..variable("added") };
        assert!(!store.add_variable(&other).await.unwrap());
        store.put_connection(&Connection::from_uri("db", "http://me:hunter22@host").unwrap()).await.unwrap();
        for key in ["old", "new", "added"] {
            assert_eq!(store.variable(key).await.unwrap().map(|v| v.val).as_deref(), Some("hunter22"), "{key}");
        }
        assert_eq!(store.list_variables(10, None).await.unwrap().items.len(), 3);
        let said = clear.variable("new").await.unwrap_err().to_string();
        assert!(said.contains("VARIABLES/new") && said.contains("no Fernet key"), "{said}");

        // Rotation: everything by the new key, what was never encrypted too, and a second time there is nothing to do.
        let rotated = with(&[&two, &one]);
        assert_eq!(rotated.reseal().await.unwrap(), 4);
        assert_eq!(rotated.reseal().await.unwrap(), 0);
        assert!(!texts(&clear).await.contains("hunter22"));
        let alone = with(&[&two]);
        assert_eq!(alone.list_variables(10, None).await.unwrap().items.len(), 3);
        assert_eq!(alone.connection("db").await.unwrap().unwrap().password.as_deref(), Some("hunter22"));
    }
}
