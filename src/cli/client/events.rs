//! Reads server-sent events, in which the gateway reports progress. Format: the HTML standard, section 9.2.

use std::io::{self, BufRead, BufReader, Read};

use ureq::Body;
use ureq::http::Response;
use ureq::http::header::CONTENT_TYPE;

/// The content type of events.
pub(crate) const EVENT_STREAM: &str = "text/event-stream";

/// Whether the body of an answer consists of events.
pub(crate) fn is_event_stream(response: &Response<Body>) -> bool {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    content_type.is_some_and(|kind| kind.starts_with(EVENT_STREAM))
}

/// One event: `event: log`, `data: a line`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// The name of the event; `message` if it has none.
    pub(crate) name: String,
    /// Its text, which may have several lines.
    pub(crate) data: String,
}

/// The events of an answer, as they arrive.
pub(crate) struct Events<R> {
    lines: io::Lines<BufReader<R>>,
}

impl<R: Read> Events<R> {
    /// Reads events.
    pub(crate) fn new(reader: R) -> Self {
        Self { lines: BufReader::new(reader).lines() }
    }
}

impl<R: Read> Iterator for Events<R> {
    type Item = io::Result<Event>;

    /// The next event that has data. An event that is cut off at the end is dropped.
    fn next(&mut self) -> Option<io::Result<Event>> {
        let mut name = String::new();
        let mut data: Option<String> = None;
        loop {
            let line = match self.lines.next()? {
                Ok(line) => line,
                // A gateway that is killed closes its connections in the middle of an answer.
                Err(error) if was_cut_off(&error) => return None,
                Err(error) => return Some(Err(error)),
            };
            if line.is_empty() {
                match data.take() {
                    Some(data) if name.is_empty() => return Some(Ok(Event { name: "message".to_owned(), data })),
                    Some(data) => return Some(Ok(Event { name, data })),
                    None => name.clear(),
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match (field, &mut data) {
                ("event", _) => value.clone_into(&mut name),
                ("data", None) => data = Some(value.to_owned()),
                ("data", Some(data)) => {
                    data.push('\n');
                    data.push_str(value);
                }
                // A comment, or a field without meaning here.
                _ => {}
            }
        }
    }
}

fn was_cut_off(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Vec<(String, String)> {
        Events::new(text.as_bytes()).map(|event| event.unwrap()).map(|event| (event.name, event.data)).collect()
    }

    #[test]
    fn events_are_read_with_their_names_and_all_their_lines() {
        let text =
            ":keep-alive\n\nevent: log\ndata: one\n\ndata:two\ndata: three\nid: 7\n\nevent: nothing\n\n:\ndata\n\n";
        let expected = [("log", "one"), ("message", "two\nthree"), ("message", "")];
        assert_eq!(events(text), expected.map(|(name, data)| (name.to_owned(), data.to_owned())));
    }

    #[test]
    fn an_event_that_is_cut_off_is_dropped() {
        assert_eq!(events("event: deployed\ndata: {}\n"), []);
    }
}
