//! Large bodies of `multipart/form-data`, read as they arrive. Files go to the folder of temporary files of their
//! deployment once 1 MiB of the form's files are held, and the function gets their paths. Small and
//! compressed forms are left to `multipart`.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use http::request::Parts;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use multer::{Field, Multipart};

use crate::http::bodies::Bodies;
use crate::http::buffers::{Class, ConnectionBuffers, Held, SMALL};
use crate::http::call::arguments::{self, Keys};
use crate::http::call::multipart::{Content, Part, PartHead, by_name, check_count, malformed};
use crate::http::disk_fault::from_disk;
use crate::http::form_feed::{Feed, FeedError, HEADER_LIMIT, Mode};
use crate::http::problem::{Code, Problem};
use crate::http::request_body::{self, Arriving, DISCARD_BYTES, DISCARD_TIME};
use crate::invocation::Arguments;
use crate::invocation::uploads::Uploaded;
use crate::process::walls::user::{User, give_file};
use crate::registry::Deployment;

/// Bytes of the files of a form that are kept in memory. Others would be sent to the worker as base64 text.
const IN_MEMORY: usize = 1 << 20;
/// Bytes that are written at once.
const BATCH: usize = 256 << 10;

/// A body as it arrives.
type Source = StreamBody<BoxStream<'static, Result<Frame<Bytes>, Fault>>>;

/// Why a body did not arrive whole.
#[derive(Debug, thiserror::Error)]
#[error("the body cannot be read: {}", .0.message())]
struct Fault(Problem);

/// Reads a form. The arguments keep its files.
///
/// # Errors
///
/// `bad_request` for a form that is malformed or has too many parts; those of [`Arriving::next`]; `overloaded` if the
/// gateway holds too much for clients; `insufficient_storage` and others if the disk fails.
pub async fn read(
    deployment: &Deployment,
    head: &Parts,
    body: Incoming,
    boundary: &str,
    keys: Keys,
    buffers: &Arc<ConnectionBuffers>,
    bodies: &Bodies,
) -> Result<(Arguments, Held), Problem> {
    let (_, body) = request_body::check_announced(head, body, bodies.limits()).await?;
    let mut source = source(Arriving::new(body, bodies.limits()));
    let (folder, user) = deployment.pool().map_or((Path::new(""), None), |pool| pool.upload_folder());
    let folder = Folder { path: Arc::new(folder.to_owned()), user };
    let mut form =
        Form { folder, parts: Vec::new(), uploads: Vec::new(), texts: 0, files: 0, held: Held::nothing(buffers) };
    let read = match form.read_parts(&mut source, boundary).await {
        // What follows the last part means nothing.
        Ok(()) => drop_rest(&mut source, usize::MAX).await.map(|_| ()),
        Err(problem) => Err(problem),
    };
    if let Err(problem) = read {
        // So that its client sees the answer.
        let dropping = tokio::time::timeout(DISCARD_TIME, drop_rest(&mut source, DISCARD_BYTES));
        return Err(if matches!(dropping.await, Ok(Ok(true))) { problem } else { problem.closing() });
    }
    let Form { parts, uploads, texts, files, held, .. } = form;
    let arguments = move || Ok(arguments::from_parts(&by_name(&parts)?, keys));
    let is_quick = texts + files <= SMALL;
    let arguments = if is_quick { arguments()? } else { bodies.elsewhere(arguments).await? };
    let uploads = (!uploads.is_empty()).then(|| uploads.into());
    Ok((arguments.with_uploads(uploads), held))
}

fn source(arriving: Arriving) -> Source {
    StreamBody::new(arriving.into_pieces().map(|piece| piece.map(Frame::data).map_err(Fault)).boxed())
}

/// Drops the rest of a body up to `most` bytes. Returns whether that was all.
async fn drop_rest(source: &mut Source, most: usize) -> Result<bool, Problem> {
    let mut dropped = 0_usize;
    while let Some(frame) = source.frame().await {
        let frame = frame.map_err(|Fault(problem)| problem)?;
        dropped = dropped.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        if dropped > most {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Where files are written.
#[derive(Debug)]
struct Folder {
    path: Arc<PathBuf>,
    /// Who is to own them, if not the gateway's user.
    user: Option<User>,
}

/// A form of which a part has arrived.
#[derive(Debug)]
struct Form {
    folder: Folder,
    parts: Vec<Part>,
    uploads: Vec<Uploaded>,
    /// Bytes of fields, and of those files that are in memory.
    texts: usize,
    files: usize,
    held: Held,
}

impl Form {
    async fn read_parts(&mut self, source: &mut Source, boundary: &str) -> Result<(), Problem> {
        let feed = Feed::new(source);
        let mode = feed.mode();
        let mut form = Multipart::new(feed, boundary);
        loop {
            mode.start_reading();
            let Some(field) = form.next_field().await.map_err(broken)? else { return Ok(()) };
            check_count(self.parts.len())?;
            self.read_part(field, &mode).await?;
        }
    }

    async fn read_part(&mut self, mut field: Field<'_>, mode: &Mode) -> Result<(), Problem> {
        let head = PartHead::of(&field)?;
        let is_file = head.is_file();
        let mut content = BytesMut::new();
        loop {
            mode.in_content();
            let Some(piece) = field.chunk().await.map_err(broken)? else { break };
            if is_file && self.files + content.len() + piece.len() > IN_MEMORY && self.folder.path.to_str().is_some() {
                content.extend_from_slice(&piece);
                let content = self.write(field, content, mode).await?;
                self.parts.push(Part { head, content });
                return Ok(());
            }
            content.extend_from_slice(&piece);
            self.hold(content.len())?;
        }
        *(if is_file { &mut self.files } else { &mut self.texts }) += content.len();
        self.parts.push(Part { head, content: Content::Memory(content.freeze()) });
        Ok(())
    }

    /// Writes the rest of a file to the disk, after what has arrived of it.
    async fn write(&mut self, mut field: Field<'_>, first: BytesMut, mode: &Mode) -> Result<Content, Problem> {
        self.hold(first.len() + BATCH)?;
        let (folder, user) = (Arc::clone(&self.folder.path), self.folder.user);
        let (uploaded, mut file) = off_thread(move || create(&folder, user)).await?;
        let path = uploaded.path().to_string_lossy().into();
        self.uploads.push(uploaded);
        let (mut batch, mut size) = (first, 0);
        loop {
            mode.in_content();
            let piece = field.chunk().await.map_err(broken)?;
            let is_last = piece.is_none();
            batch.extend_from_slice(&piece.unwrap_or_default());
            if is_last || batch.len() >= BATCH {
                size += batch.len() as u64;
                (file, batch) = off_thread(move || write(file, batch)).await?;
            }
            if is_last {
                return Ok(Content::Disk(path, size));
            }
        }
    }

    /// Counts what is held, with `more` bytes of the part that is being read: once as they came, once as the line for
    /// the worker.
    fn hold(&mut self, more: usize) -> Result<(), Problem> {
        let bytes = 2 * (self.texts + self.files + more);
        self.held.grow_to(bytes, Class::of_body(bytes))
    }
}

/// Makes a file that only its function can read.
fn create(folder: &Path, user: Option<User>) -> io::Result<(Uploaded, File)> {
    let (uploaded, file) = match Uploaded::create(folder) {
        // Without walls, nobody has made the folder yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            Uploaded::create(folder)?
        }
        created => created?,
    };
    if let Some(user) = user {
        give_file(&file, user)?;
    }
    Ok((uploaded, file))
}

fn write(mut file: File, mut batch: BytesMut) -> io::Result<(File, BytesMut)> {
    file.write_all(&batch)?;
    batch.clear();
    Ok((file, batch))
}

async fn off_thread<T: Send + 'static>(act: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(act).await.unwrap_or_else(|ended| Err(io::Error::other(ended)));
    done.map_err(|error| from_disk(&error, "writing an uploaded file"))
}

/// The answer when a form cannot be read further.
fn broken(error: multer::Error) -> Problem {
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast::<FeedError>().map(|cause| *cause) {
            Ok(FeedError::Headers) => malformed(&format!("headers of a part have more than {HEADER_LIMIT} bytes")),
            Ok(FeedError::Body(cause)) => match cause.downcast::<Fault>() {
                Ok(fault) => fault.0,
                Err(cause) => Problem::new(Code::BadRequest, cause.to_string()),
            },
            Err(cause) => malformed(&cause.to_string()),
        },
        error => malformed(&error.to_string()),
    }
}
