//! Whether the values of one schema are values of another one.

/// What the values are: callers send arguments and read results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// Arguments: what callers have sent must stay valid.
    Arguments,
    /// Results: what callers get must be as it was. A member more in an object is.
    Results,
}

/// Whether the wide schema admits every value of the narrow one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Covered {
    /// It does.
    Yes,
    /// The structures do not tell.
    Unclear(Mismatch),
    /// It does not.
    No(Mismatch),
}

/// Where two schemas do not fit, and what they say there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// `.size`, `[]`, or nothing for the whole.
    pub(super) path: String,
    /// What the narrow one says.
    pub(super) narrow: String,
    /// What the wide one says.
    pub(super) wide: String,
    /// Whether the narrow one says further things, which the wide one admits.
    pub(super) is_part: bool,
}

impl Mismatch {
    pub(super) fn new(path: &str, narrow: String, wide: String) -> Self {
        Self { path: path.to_owned(), narrow, wide, is_part: false }
    }
}

impl Covered {
    /// The worse of two.
    pub(super) fn and(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Yes => other(),
            Self::No(_) => self,
            Self::Unclear(_) => match other() {
                no @ Self::No(_) => no,
                _ => self,
            },
        }
    }

    pub(super) fn unless(fits: bool, mismatch: impl FnOnce() -> Mismatch) -> Self {
        if fits { Self::Yes } else { Self::No(mismatch()) }
    }

    /// What does not fit is unclear, because something was not looked at.
    pub(super) fn weakened(self) -> Self {
        match self {
            Self::No(mismatch) => Self::Unclear(mismatch),
            other => other,
        }
    }
}
