//! The header `Range`: which bytes of a file a client asks for (RFC 9110, section 14).

/// The bytes that a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of them; also for a header that is not understood or has several ranges.
    Whole,
    /// From the first to the last of these, all within the file.
    Part(u64, u64),
    /// Bytes beyond the end of the file.
    Unsatisfiable,
}

/// Parses the header for a file of `size` bytes. It understands `bytes=0-99`, `bytes=100-` and `bytes=-10`.
pub(super) fn parse(header: &[u8], size: u64) -> Wanted {
    let Some((from, to)) = std::str::from_utf8(header).ok().and_then(one_range) else { return Wanted::Whole };
    match (from, to) {
        (Some(from), Some(to)) if from > to => Wanted::Whole,
        (None, Some(0)) => Wanted::Unsatisfiable,
        (Some(from), _) if from >= size => Wanted::Unsatisfiable,
        (None, _) if size == 0 => Wanted::Unsatisfiable,
        (Some(from), to) => Wanted::Part(from, to.unwrap_or(u64::MAX).min(size - 1)),
        (None, Some(count)) => Wanted::Part(size.saturating_sub(count), size - 1),
        (None, None) => Wanted::Whole,
    }
}

/// The first and the last position of the range; none for several ranges or an unknown form.
fn one_range(header: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, range) = header.trim().split_once('=')?;
    if !unit.trim_end().eq_ignore_ascii_case("bytes") || range.contains(',') {
        return None;
    }
    let (from, to) = range.trim().split_once('-')?;
    Some((number(from)?, number(to)?))
}

/// A number, or none without digits. A number that is too large counts as the largest, past the end of every file.
fn number(text: &str) -> Option<Option<u64>> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(if text.is_empty() { None } else { Some(text.parse().unwrap_or(u64::MAX)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_selects_the_bytes_within_the_file() {
        for (header, wanted) in [
            ("bytes=0-0", Wanted::Part(0, 0)),
            ("bytes=2-5", Wanted::Part(2, 5)),
            ("bytes=2-", Wanted::Part(2, 9)),
            ("bytes=2-99", Wanted::Part(2, 9)),
            ("bytes=2-99999999999999999999999", Wanted::Part(2, 9)),
            ("bytes=-3", Wanted::Part(7, 9)),
            ("bytes=-99", Wanted::Part(0, 9)),
            ("Bytes = 9-9", Wanted::Part(9, 9)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=99999999999999999999999-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
        ] {
            assert_eq!(parse(header.as_bytes(), 10), wanted, "{header}");
        }
    }

    #[test]
    fn what_is_no_single_range_is_the_whole_file() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "bytes=a-b",
            "bytes=+1-2",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=1 - 2",
        ] {
            assert_eq!(parse(header.as_bytes(), 10), Wanted::Whole, "{header}");
        }
        assert_eq!(parse(b"bytes=\xff-", 10), Wanted::Whole);
    }

    #[test]
    fn an_empty_file_has_no_range() {
        for header in ["bytes=0-", "bytes=-1", "bytes=0-0"] {
            assert_eq!(parse(header.as_bytes(), 0), Wanted::Unsatisfiable, "{header}");
        }
    }
}
