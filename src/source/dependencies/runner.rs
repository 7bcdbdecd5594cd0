//! The programs that install dependencies, by the names of MetaCall's clients.

/// What installs the dependencies of a language.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Runner {
    /// npm.
    Nodejs,
    /// pip.
    Python,
    /// Bundler.
    Ruby,
    /// dotnet.
    Csharp,
}

impl Runner {
    /// Every runner.
    pub const ALL: [Self; 4] = [Self::Nodejs, Self::Python, Self::Ruby, Self::Csharp];

    /// Its name on the wire, as MetaCall's clients have it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nodejs => "nodejs",
            Self::Python => "python",
            Self::Ruby => "ruby",
            Self::Csharp => "csharp",
        }
    }

    /// The runner of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|runner| runner.name() == name)
    }
}
