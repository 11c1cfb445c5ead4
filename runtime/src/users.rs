//! Who may use the page: names, roles and Argon2id hashes in a file of the site's configuration. Passwords are nowhere kept.

use crate::durable;
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Characters of a password, at least (NIST SP 800-63B, section 5.1.1.2, asks for 8) and at most (a hash of more costs time).
const PASSWORD: std::ops::RangeInclusive<usize> = 10..=256;
/// Characters of a name.
const NAME: std::ops::RangeInclusive<usize> = 1..=32;

/// What somebody may do; each role may what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look: jobs, overlay, figures.
    Viewer,
    /// Acknowledge alarms.
    Engineer,
    /// What changes the device.
    Admin,
}

/// One user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    pub name: String,
    pub role: Role,
    /// Argon2id in the PHC string format, with its own salt and parameters.
    hash: String,
}

impl User {
    /// What a session is bound to: with another password it is over.
    pub fn hash(&self) -> &[u8] {
        self.hash.as_bytes()
    }

    /// Takes a core for a while and 19 MiB: not for a thread that must not block.
    pub fn has_password(&self, password: &str) -> bool {
        let Ok(hash) = PasswordHash::new(&self.hash) else { return false };
        PASSWORD.contains(&password.chars().count())
            && Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
    }
}

/// Everybody who may use the page.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Users {
    #[serde(default, rename = "user")]
    users: Vec<User>,
}

/// What is wrong with the users: the site's move.
#[derive(Debug, Error)]
pub enum UsersError {
    #[error("cannot read the users of {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the users of {path} are wrong: {reason}")]
    Wrong { path: PathBuf, reason: String },
    #[error("cannot write the users to {path}: {source}")]
    Write { path: PathBuf, source: std::io::Error },
    #[error("a name is {} to {} of a-z, 0-9, '.', '-' and '_'", NAME.start(), NAME.end())]
    Name,
    #[error("a password has {} to {} characters", PASSWORD.start(), PASSWORD.end())]
    Password,
    #[error("the password cannot be hashed: the system gives no random numbers")]
    Hash,
}

impl Users {
    /// The users of a file; none where there is no file.
    pub fn read(path: &Path) -> Result<Users, UsersError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(UsersError::Read { path: path.to_owned(), source }),
        };
        let wrong = |reason: String| UsersError::Wrong { path: path.to_owned(), reason };
        // Without the text: it has hashes in it.
        let users: Users = toml::from_str(&text).map_err(|e| wrong(e.message().to_owned()))?;
        for (n, user) in users.users.iter().enumerate() {
            if PasswordHash::new(&user.hash).is_err() {
                return Err(wrong(format!("{:?} has no Argon2 hash", user.name)));
            }
            if users.users[..n].iter().any(|other| other.name == user.name) {
                return Err(wrong(format!("{:?} is there twice", user.name)));
            }
        }
        Ok(users)
    }

    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    pub fn find(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// One of them.
    pub(crate) fn any(&self) -> Option<&User> {
        self.users.first()
    }

    /// Adds a user; one of this name gets the new role and password.
    pub fn set(&mut self, name: &str, role: Role, password: &str) -> Result<(), UsersError> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
        if !NAME.contains(&name.len()) || !name.chars().all(plain) {
            return Err(UsersError::Name);
        }
        if !PASSWORD.contains(&password.chars().count()) {
            return Err(UsersError::Password);
        }
        let hasher = Argon2::default();
        let hash: PasswordHash =
            hasher.hash_password(password.as_bytes()).map_err(|_| UsersError::Hash)?;
        let user = User { name: name.to_owned(), role, hash: hash.to_string() };
        self.users.retain(|other| other.name != name);
        self.users.push(user);
        Ok(())
    }

    /// What their file holds.
    pub fn text(&self) -> String {
        toml::to_string(self).expect("names and hashes are strings")
    }

    /// Writes them, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), UsersError> {
        let failed = |source| UsersError::Write { path: path.to_owned(), source };
        durable::write(path, self.text().as_bytes()).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_again_and_kept_nowhere() {
        let mut users = Users::default();
        users.set("ann", Role::Engineer, "correct horse").unwrap();
        let text = toml::to_string(&users).unwrap();
        assert!(text.contains("$argon2id$") && !text.contains("horse"), "{text}");
        let ann = users.find("ann").unwrap().clone();
        assert!(ann.has_password("correct horse") && !ann.has_password("correct house"));
        users.set("ann", Role::Viewer, "correct horse").unwrap();
        let again = users.find("ann").unwrap();
        assert!(again.role == Role::Viewer && again.hash() != ann.hash(), "a salt of its own");
        assert!(Role::Viewer < Role::Engineer && Role::Engineer < Role::Admin);
    }

    #[test]
    fn names_and_passwords_that_would_not_do_are_refused() {
        let mut users = Users::default();
        for (name, password) in [("", "long enough"), ("Ann", "long enough"), ("ann", "short")] {
            users.set(name, Role::Viewer, password).unwrap_err();
        }
        assert!(users.is_empty());
    }
}
