//! A text that is never printed.

use std::fmt;

/// A secret. `Debug` does not show it and nothing else prints it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the one request that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self(secret)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
