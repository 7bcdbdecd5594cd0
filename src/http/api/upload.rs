//! The upload of a package: a form of `multipart/form-data`, its file written to disk as it arrives. Whether the file
//! is an archive is left to `source`.
//!
//! The parts, as MetaCall's client sends them: `id`, `type`, `jsons` and `runners` (both JSON), `version` and then the
//! file `raw`. Other parts are skipped.

mod fields;
mod form_end;
mod received;
mod spool;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use multer::{Field, Multipart};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::api::upload::fields::Fields;
use crate::http::api::upload::received::{FILE, Upload, refused};
use crate::http::api::upload::spool::Spool;
use crate::http::form_feed::{Feed, HEADER_LIMIT, Mode};
use crate::http::problem::{Code, Problem};

/// Packages that may be uploaded at once, and `Retry-After` when there are more.
const UPLOADS: usize = 4;
const SLOT_WAIT: Duration = Duration::from_secs(1);

const PART_LIMIT: usize = 16;
/// Bytes of a part other than the file.
const FIELD_LIMIT: usize = 64 * 1024;
/// Bytes of a form besides its file.
const FORM_LIMIT: u64 = (PART_LIMIT * (FIELD_LIMIT + HEADER_LIMIT)) as u64;
/// Characters of a boundary: RFC 2046, section 5.1.1.
const BOUNDARY_LIMIT: usize = 70;

/// The right to upload, for a limited number of clients at once.
#[derive(Debug, Clone)]
pub struct UploadSlots(Arc<Semaphore>);

impl Default for UploadSlots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(UPLOADS)))
    }
}

impl UploadSlots {
    /// Takes a slot, to be held until the upload has been checked.
    ///
    /// # Errors
    ///
    /// `overloaded` if all are taken.
    pub fn take(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| {
            Problem::new(Code::Overloaded, format!("{UPLOADS} packages are being uploaded already"))
                .retry_after(SLOT_WAIT)
        })
    }
}

/// Receives an upload whose file has at most `limit` bytes, and writes the file to `folder`.
pub async fn receive(headers: &HeaderMap, mut body: Body, folder: &Path, limit: u64) -> Result<Upload, Problem> {
    let boundary = boundary(headers)?;
    check_length(headers, limit)?;
    let mut fields = Fields::default();
    let archive = {
        let feed = Feed::new(&mut body);
        let mode = feed.mode();
        let mut form = Multipart::new(feed, boundary);
        let mut archive = None;
        let mut parts = 0;
        loop {
            mode.start_reading();
            let Some(part) = form.next_field().await.map_err(|error| form_end::problem(&error, None))? else { break };
            parts += 1;
            if parts > PART_LIMIT {
                return Err(refused(format!("more than {PART_LIMIT} parts")));
            }
            let name = part.name().ok_or_else(|| refused(format!("part {parts} has no name")))?.to_owned();
            if archive.is_some() {
                return Err(refused(format!(
                    "part {name:?} comes after the file {FILE:?}, which must be the last part"
                )));
            }
            if name == FILE {
                fields.check_complete()?;
                mode.in_content();
                archive = Some(receive_file(part, folder, limit).await?);
            } else {
                fields.set(&name, &receive_text(part, &name, &mode).await?)?;
            }
        }
        archive
    };
    form_end::read_end(&mut body).await?;
    fields.check_complete()?;
    let archive = archive.ok_or_else(|| refused(format!("no part {FILE:?}")))?;
    fields.into_upload(archive)
}

/// The boundary that the content type names.
fn boundary(headers: &HeaderMap) -> Result<String, Problem> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && !encoding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity")
    {
        return Err(Problem::new(Code::UnsupportedMediaType, "an upload must have no content-encoding"));
    }
    let Some(kind) = headers.get(CONTENT_TYPE) else {
        return Err(refused("no content-type, where multipart/form-data is expected".to_owned()));
    };
    match multer::parse_boundary(kind.to_str().unwrap_or_default()) {
        Ok(boundary) if (1..=BOUNDARY_LIMIT).contains(&boundary.len()) => Ok(boundary),
        Ok(boundary) => {
            Err(refused(format!("a boundary of {} bytes, where 1 to {BOUNDARY_LIMIT} are allowed", boundary.len())))
        }
        Err(multer::Error::NoMultipart) => {
            Err(Problem::new(Code::UnsupportedMediaType, "an upload must be multipart/form-data"))
        }
        Err(_) => Err(refused("the content-type names no boundary".to_owned())),
    }
}

/// Refuses a body that is too long by its own content-length, before any of it is read.
fn check_length(headers: &HeaderMap, limit: u64) -> Result<(), Problem> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match announced {
        Some(length) if length > limit.saturating_add(FORM_LIMIT) => Err(too_large(limit)),
        _ => Ok(()),
    }
}

async fn receive_text(mut part: Field<'_>, name: &str, mode: &Mode) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    loop {
        mode.start_reading();
        let Some(bytes) = part.chunk().await.map_err(|error| form_end::problem(&error, Some(name)))? else { break };
        if text.len() + bytes.len() > FIELD_LIMIT {
            return Err(refused(format!("part {name:?} has more than {FIELD_LIMIT} bytes")));
        }
        text.extend_from_slice(&bytes);
    }
    Ok(text)
}

async fn receive_file(mut part: Field<'_>, folder: &Path, limit: u64) -> Result<PathBuf, Problem> {
    let mut spool = Spool::open(folder)?;
    while let Some(bytes) = part.chunk().await.map_err(|error| form_end::problem(&error, Some(FILE)))? {
        if spool.len() + bytes.len() as u64 > limit {
            return Err(too_large(limit));
        }
        spool.write(&bytes).await?;
    }
    spool.finish().await
}

fn too_large(limit: u64) -> Problem {
    Problem::new(Code::PayloadTooLarge, format!("a package of more than {limit} bytes"))
}
