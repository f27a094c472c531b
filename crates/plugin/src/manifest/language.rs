//! What a plugin is written in.

/// A language that `build` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    Js,
    Ts,
    Rust,
    Python,
    Go,
    C,
}

impl Language {
    pub const ALL: [(&str, Self); 6] = [
        ("js", Self::Js),
        ("ts", Self::Ts),
        ("rust", Self::Rust),
        ("python", Self::Python),
        ("go", Self::Go),
        ("c", Self::C),
    ];

    /// The language that `build` knows by this word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == word).map(|(_, language)| *language)
    }

    /// The word in a manifest and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Js => "js",
            Self::Ts => "ts",
            Self::Rust => "rust",
            Self::Python => "python",
            Self::Go => "go",
            Self::C => "c",
        }
    }

    /// Whether a guest starts a runtime of its own before it sees an event, which wants time.
    #[must_use]
    pub const fn starts_a_runtime(self) -> bool {
        matches!(self, Self::Js | Self::Ts | Self::Python | Self::Go)
    }

    /// Whether a guest carries an interpreter, which wants more memory and time than compiled code.
    #[must_use]
    pub const fn is_interpreted(self) -> bool {
        matches!(self, Self::Js | Self::Ts | Self::Python)
    }
}
