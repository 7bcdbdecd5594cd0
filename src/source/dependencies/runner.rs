//! The programs that install dependencies, by the names of MetaCall's clients.

/// A program that installs the dependencies of a language.
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

    /// Its name in requests, as MetaCall's clients send it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nodejs => "nodejs",
            Self::Python => "python",
            Self::Ruby => "ruby",
            Self::Csharp => "csharp",
        }
    }

    /// The runner with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|runner| runner.name() == name)
    }
}
