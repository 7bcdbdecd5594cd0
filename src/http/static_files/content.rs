//! The bytes of a file as the body of an answer: read piece by piece on other threads, as fast as the client reads.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;

use crate::http::reply_body::ReplyBody;
use crate::http::static_files::file::StaticFile;

const PIECE: u64 = 64 * 1024;

/// The bytes from `from` up to, not including, `end`. If the file became shorter since it was opened, the connection is
/// closed, because the announced length cannot be met.
pub(super) fn bytes(file: &StaticFile, from: u64, end: u64) -> ReplyBody {
    if from >= end {
        return ReplyBody::Full(None);
    }
    let pieces = stream::try_unfold((Arc::clone(&file.file), from), move |(file, from)| async move {
        if from >= end {
            return Ok(None);
        }
        let length = usize::try_from(PIECE.min(end - from)).unwrap_or(0);
        let reading = Arc::clone(&file);
        let piece = tokio::task::spawn_blocking(move || read(&reading, from, length)).await??;
        let next = from + piece.len() as u64;
        Ok::<_, io::Error>(Some((piece, (file, next))))
    });
    ReplyBody::Streamed(axum::body::Body::from_stream(pieces))
}

fn read(file: &File, from: u64, length: usize) -> io::Result<Bytes> {
    let mut piece = vec![0; length];
    file.read_exact_at(&mut piece, from)?;
    Ok(piece.into())
}
