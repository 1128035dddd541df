//! The file of known servers: its form, and what may stand in its place.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const PIN: &str = "00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff";

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("smtpmail-known-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("trust")
    }

    fn with(text: &str) -> Self {
        let folder = Self::new();
        fs::write(folder.file(), text).unwrap();
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn login(user: &str, mechanism: &str) -> Fact {
    Fact::Login {
        user: user.into(),
        mechanism: mechanism.into(),
    }
}

fn facts(path: &Path, host: &str, port: u16) -> Vec<Fact> {
    KnownServers::load(path)
        .unwrap()
        .of(host, port)
        .cloned()
        .collect()
}

#[test]
fn what_is_remembered_is_read_again_for_that_host_and_port_only() {
    let folder = Folder::new();
    let path = folder.file();
    assert!(facts(&path, "mx.example.org", 587).is_empty());
    let remembered = [
        Fact::Tls,
        Fact::Pin(PIN.into()),
        login("ada lovelace%/\u{e4}\n", "SCRAM-SHA-256"),
    ];
    for fact in &remembered {
        remember(&path, "MX.example.org.", 587, fact.clone()).unwrap();
    }
    assert_eq!(facts(&path, "mx.EXAMPLE.org", 587), remembered);
    assert!(facts(&path, "mx.example.org", 25).is_empty());
    assert!(facts(&path, "example.org", 587).is_empty());
    let text = fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("smtpmail-trust 1\ntls mx.example.org 587 20"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 4, "one line each: {text}");
    assert!(text.is_ascii());
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_new_pin_and_a_new_mechanism_take_the_place_of_the_old_ones() {
    let folder = Folder::new();
    let path = folder.file();
    let other = PIN.replace("00", "ff");
    for fact in [
        Fact::Pin(PIN.into()),
        Fact::Pin(other.clone()),
        login("ada", "PLAIN"),
        login("bob", "PLAIN"),
        login("ada", "SCRAM-SHA-256"),
    ] {
        remember(&path, "a", 1, fact).unwrap();
    }
    let left = [
        Fact::Pin(other),
        login("bob", "PLAIN"),
        login("ada", "SCRAM-SHA-256"),
    ];
    assert_eq!(facts(&path, "a", 1), left);
}

#[test]
fn comments_stay_and_forgetting_takes_one_server_only() {
    let folder = Folder::with(
        "smtpmail-trust 1\n# mine\n\ntls a 1 2026-01-01\ntls a 2 2026-01-01\ntls b 1 2026-01-01\n",
    );
    let path = folder.file();
    assert!(forget(&path, "A.", 1).unwrap());
    assert!(!forget(&path, "a", 1).unwrap());
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "smtpmail-trust 1\n# mine\n\ntls a 2 2026-01-01\ntls b 1 2026-01-01\n"
    );
}

#[test]
fn what_is_not_understood_is_an_error_and_is_not_written_over() {
    let bad_pin = format!("smtpmail-trust 1\npin a 1 2026-01-01 {}", &PIN[1..]);
    let long = format!(
        "smtpmail-trust 1\nlogin a 1 2026-01-01 PLAIN {}",
        "x".repeat(1001)
    );
    for (text, words) in [
        ("smtpmail-trust 2\ntls a 1 2026-01-01\n", "version 2"),
        ("smtpmail-trust x\n", "does not begin"),
        ("tls a 1 2026-01-01\n", "does not begin"),
        ("((:id 1))", "does not begin"),
        ("smtpmail-trust 1\ntls a 0 2026-01-01\n", "line 2"),
        ("smtpmail-trust 1\ntls a 65536 2026-01-01\n", "line 2"),
        ("smtpmail-trust 1\n\nnonsense a 1\n", "line 3"),
        (
            "smtpmail-trust 1\nlogin a 1 2026-01-01 PLAIN %f\n",
            "line 2",
        ),
        (
            "smtpmail-trust 1\nlogin a 1 2026-01-01 PLAIN %ff\n",
            "line 2",
        ),
        (&bad_pin, "line 2"),
        (&long, "line 2"),
    ] {
        let folder = Folder::with(text);
        let path = folder.file();
        for error in [
            KnownServers::load(&path).unwrap_err(),
            remember(&path, "a", 1, Fact::Tls).unwrap_err(),
            forget(&path, "a", 1).unwrap_err(),
        ] {
            assert!(error.contains(words), "{text}: {error}");
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn hostile_files_are_refused_at_once_and_left_alone() {
    type Make<'a> = &'a dyn Fn(&Path);
    let make: [(&str, Make<'_>); 7] = [
        ("plain file", &|path| {
            let made = std::process::Command::new("mkfifo").arg(path).status();
            assert!(made.unwrap().success());
        }),
        ("plain file", &|path| fs::create_dir(path).unwrap()),
        ("plain file", &|path| symlink("/dev/zero", path).unwrap()),
        ("to nothing", &|path| symlink("nowhere", path).unwrap()),
        ("others may write", &|path| {
            fs::write(path, "smtpmail-trust 1\n").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o666)).unwrap();
        }),
        ("far too large", &|path| {
            File::create(path).unwrap().set_len(MAX_FILE + 1).unwrap();
        }),
        ("not text", &|path| {
            fs::write(path, b"smtpmail-trust 1\n# \xff\n").unwrap();
        }),
    ];
    for (words, make) in make {
        let folder = Folder::new();
        let path = folder.file();
        make(&path);
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        let error = KnownServers::load(&path).unwrap_err();
        assert!(error.contains(words), "{words}: {error}");
        assert!(remember(&path, "a", 1, Fact::Tls).is_err(), "{words}");
        assert_eq!(fs::symlink_metadata(&path).unwrap().file_type(), kind);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1, "{words}");
    }
}

#[test]
fn a_link_of_ours_stays_a_link() {
    let folder = Folder::new();
    let real = folder.0.join("dotfiles");
    fs::write(&real, "smtpmail-trust 1\n").unwrap();
    symlink("dotfiles", folder.file()).unwrap();
    remember(&folder.file(), "a", 1, Fact::Tls).unwrap();
    assert!(folder.file().is_symlink());
    assert_eq!(facts(&real, "a", 1), [Fact::Tls]);
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let folder = Folder::with("smtpmail-trust 1\ntls a 1 2026-01-01\n");
    let path = folder.file();
    // A directory where the new file would be written: even root fails.
    let new = folder.0.join(format!("trust.{}.new", std::process::id()));
    fs::create_dir(&new).unwrap();
    assert!(remember(&path, "b", 1, Fact::Tls).is_err());
    assert_eq!(facts(&path, "a", 1), [Fact::Tls]);
    fs::remove_dir(&new).unwrap();
    remember(&path, "b", 1, Fact::Tls).unwrap();
}

#[test]
fn changes_at_once_are_all_kept() {
    let folder = Folder::new();
    let path = folder.file();
    std::thread::scope(|scope| {
        for port in 1..=16 {
            let path = &path;
            scope.spawn(move || remember(path, "a", port, Fact::Tls).unwrap());
        }
    });
    assert_eq!(KnownServers::load(&path).unwrap().entries().count(), 16);
}

#[test]
fn dates() {
    for (seconds, day) in [
        (0, "1970-01-01"),
        (951_782_400, "2000-02-29"),
        (951_868_800, "2000-03-01"),
        (1_798_761_599, "2026-12-31"),
        (4_107_542_400, "2100-03-01"),
    ] {
        assert_eq!(date(seconds), day);
    }
}
