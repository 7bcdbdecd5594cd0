//! Asynchronous calls: a call is accepted once it is on the disk, and is tried until it has ended. The queue knows
//! neither workers nor HTTP; what a call is made of, and what it came to, are bytes to it. Everything is in one SQLite
//! file, with large bodies as files beside it.

mod accepting;
pub mod backup;
mod batches;
mod bodies;
mod call;
mod call_id;
mod counting;
mod database;
mod fault;
mod figures;
mod keys;
mod looking;
mod open_files;
mod places;
pub mod progress;
mod reader;
mod reporting;
mod schedules;
pub mod shown;
#[cfg(test)]
mod simulation;
mod thread;
mod tidying;
mod time;
mod trying;
mod watchers;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{Notify, OnceCell};

pub use accepting::Bounds;
use bodies::Part;
pub use call::{Accepted, Answer, AnswerHead, CallKey, Callback, Filter, INLINE, Kept, NewCall, Priority, Try};
pub use call_id::{CallId, NotAnId};
pub use counting::Counts;
pub use database::Database;
pub use fault::Fault;
pub use figures::Figures;
pub use keys::{KeptAnswer, Reserved};
pub use looking::Changed;
use places::{BODIES, FILE};
use progress::{Millis, State, TryEnd};
use reader::Reader;
pub use reporting::is_origin;
pub use schedules::{Tick, Ticked};
use thread::Writer;
pub use tidying::Tidied;
pub use time::{now, time_of_day, until};
pub use trying::{Begun, Room};
pub use watchers::{Watch, Watchers};

/// The asynchronous calls of a gateway. Nothing is opened, and no thread runs, before it is used.
#[derive(Debug)]
pub struct Queue {
    folder: PathBuf,
    threads: OnceCell<(Writer, Reader)>,
    /// Tells the plain calls of this process from those of others that have ended.
    owner: i64,
    bounds: ArcSwap<Bounds>,
    /// Calls may be due that nobody has looked for.
    pub due: Arc<Notify>,
    /// Who waits for the ends of calls.
    pub watchers: Watchers,
    /// What is counted of them.
    pub figures: Arc<Figures>,
}

impl Queue {
    /// The queue in a data folder.
    #[must_use]
    pub fn new(data_dir: &Path, bounds: Bounds) -> Self {
        Self {
            folder: places::of_data_folder(data_dir),
            threads: OnceCell::new(),
            owner: fastrand::i64(..),
            bounds: ArcSwap::from_pointee(bounds),
            due: Arc::default(),
            watchers: Watchers::default(),
            figures: Arc::default(),
        }
    }

    /// Changes how much it may hold.
    pub fn set_bounds(&self, bounds: Bounds) {
        self.bounds.store(Arc::new(bounds));
    }

    /// Whether calls were accepted here before.
    #[must_use]
    pub fn has_file(&self) -> bool {
        self.threads.initialized() || self.folder.join(FILE).exists()
    }

    /// Accepts a call: it is on the disk when this returns [`Accepted::New`].
    ///
    /// # Errors
    ///
    /// The queue or the disk is full, or the file is not usable.
    pub async fn accept(&self, call: NewCall) -> Result<Accepted, Fault> {
        let bounds = **self.bounds.load();
        let (figures, due) = (Arc::clone(&self.figures), Arc::clone(&self.due));
        // Whoever asks may leave, and the call is there all the same.
        let then = move |accepted: &Accepted| {
            if matches!(accepted, Accepted::New) {
                figures.accept(1);
                due.notify_one();
            }
        };
        if call.request.len() <= INLINE {
            return self.writer().await?.run_then(move |database| database.accept(&call, bounds), then).await;
        }
        let (writer, folder) = (self.writer().await?.clone(), self.bodies());
        // A task of its own: without it, the file would be nobody's.
        let whole = tokio::spawn(accept_large(writer, folder, (call, bounds), then));
        whole.await.unwrap_or(Err(Fault::Stopped))
    }

    /// Begins tries of calls that are due; see [`Database::begin_tries`].
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub async fn begin_tries(
        &self,
        first: Box<str>,
        room: Room,
        free: impl FnMut(&str) -> usize + Send + 'static,
    ) -> Result<Begun, Fault> {
        let begun = self.run(move |database| database.begin_tries(now(), &first, room, free)).await?;
        let callbacks = begun.tries.iter().filter(|one| one.callback.is_some()).count();
        self.figures.calls.tries((begun.tries.len() - callbacks) as u64);
        self.figures.callbacks.tries(callbacks as u64);
        self.count_expired(&begun.expired);
        for one in &begun.tries {
            self.watchers.changed(one.id);
        }
        Ok(begun)
    }

    /// Ends a try. Returns where the call is then; none if it was cancelled meanwhile.
    ///
    /// # Errors
    ///
    /// The disk or the room for answers is full: the try is under way still.
    pub async fn end(&self, one: &Try, end: TryEnd, answer: Option<Answer>) -> Result<Option<State>, Fault> {
        let (id, of, bounds) = (one.id, (one.row, one.serial), **self.bounds.load());
        // Nobody reads what a try failed with that another one follows.
        let is_last = one.is_last || matches!(end, TryEnd::Done | TryEnd::Final);
        let file = answer.as_ref().filter(|answer| is_last && answer.body.len() > INLINE);
        let part = Part::Answer(one.serial);
        let is_filed = file.is_some();
        if let Some(answer) = file {
            self.writer().await?;
            write_body(self.bodies(), id, part, answer.body.clone()).await?;
        }
        let at = (now(), fastrand::f64());
        let state = self.run(move |database| database.end(of, end, answer.as_ref(), at, bounds)).await?;
        if is_filed && !state.is_some_and(State::has_ended) {
            bodies::remove(&self.bodies(), id, part);
        }
        if let Some(state) = state {
            self.figures.of(one.callback.is_some()).ended(state, 1);
        }
        self.watchers.changed(id);
        Ok(state)
    }

    /// Reserves a key for a plain call.
    ///
    /// # Errors
    ///
    /// The disk or the room for keys is full, or the file is not usable.
    pub async fn reserve(&self, key: CallKey, keep: Duration) -> Result<Reserved, Fault> {
        let (owner, bounds) = (self.owner, **self.bounds.load());
        let reserve = move |database: &mut Database| {
            let now = now();
            database.reserve(key, owner, (now, progress::after(now, keep)), bounds)
        };
        self.run(reserve).await
    }

    /// Keeps the answer of the call under a key for so long; without one, that there was one.
    ///
    /// # Errors
    ///
    /// The disk is full, or the file is not usable.
    pub async fn keep_answer_of(&self, key: CallKey, answer: Option<Answer>, keep: Duration) -> Result<(), Fault> {
        let bounds = **self.bounds.load();
        let keep = move |database: &mut Database| {
            database.keep_answer_of(key.key, answer.as_ref(), progress::after(now(), keep), bounds)
        };
        self.run(keep).await
    }

    /// The body of the answer of a key; none if that is not kept any more.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub async fn body_under(&self, key: CallKey) -> Result<Option<Bytes>, Fault> {
        self.read(move |database| database.body_under(key.key)).await
    }

    /// Gives a key up.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub async fn release(&self, key: CallKey) -> Result<(), Fault> {
        let owner = self.owner;
        self.run(move |database| database.release(key.key, owner)).await
    }

    /// Takes a call back.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub async fn cancel(&self, id: CallId) -> Result<Changed, Fault> {
        let changed = self.run(move |database| database.cancel(id, now())).await?;
        if let Changed::Now(kept) = &changed {
            self.figures.of(kept.reports.is_some()).ended(State::Cancelled, 1);
        }
        self.watchers.changed(id);
        // Its end may have to be reported.
        self.due.notify_one();
        Ok(changed)
    }

    /// Queues a call again that is dead or was cancelled; `max_age` is that of a call.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub async fn retry(
        &self,
        id: CallId,
        max_age: impl FnOnce(&Kept) -> Duration + Send + 'static,
    ) -> Result<Changed, Fault> {
        let due = Arc::clone(&self.due);
        let retry = move |database: &mut Database| database.retry(id, max_age, now());
        let changed = self.writer().await?.run_then(retry, move |_| due.notify_one()).await?;
        self.watchers.changed(id);
        Ok(changed)
    }

    /// A call, with the head of what it came to if it has ended; none if it is not kept.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub async fn look(&self, id: CallId) -> Result<Option<(Kept, Option<AnswerHead>)>, Fault> {
        if !self.has_file() {
            return Ok(None);
        }
        let look = move |database: &Database| {
            let Some(kept) = database.kept(id)? else { return Ok(None) };
            let head = if kept.progress.state.has_ended() { database.answer_head(&kept)? } else { None };
            Ok(Some((kept, head)))
        };
        self.read(look).await
    }

    /// What a call came to that has ended; none if that is gone.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub async fn answer(&self, kept: Kept, head: AnswerHead) -> Result<Option<Answer>, Fault> {
        let (row, id, part) = (kept.row, kept.id, Part::Answer(kept.progress.serial));
        let body = if head.bytes > INLINE as u64 {
            let folder = self.bodies();
            let read = tokio::task::spawn_blocking(move || bodies::read(&folder, id, part));
            read.await.map_err(|_| Fault::Stopped)?
        } else {
            self.read(move |database| database.body(row, id, part)).await?
        };
        Ok(body.map(|body| head.with(kept.last, body)))
    }

    /// Removes the files of calls that are not kept.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub async fn sweep(&self) -> Result<(), Fault> {
        self.run(|database| database.sweep()).await
    }

    /// Ends calls that are too old, and removes those whose time is over.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub async fn tidy(&self) -> Result<Tidied, Fault> {
        let tidied = self.run(|database| database.tidy(now())).await?;
        self.count_expired(&tidied.expired);
        Ok(tidied)
    }

    /// Counts calls that have become too old, callbacks or not, and tells those who wait for them.
    fn count_expired(&self, expired: &[(CallId, bool)]) {
        for (id, is_callback) in expired {
            self.figures.of(*is_callback).ended(State::Dead, 1);
            self.watchers.changed(*id);
        }
        if !expired.is_empty() {
            // Their ends may have to be reported.
            self.due.notify_one();
        }
    }

    /// Accepts the calls of times of schedules that are due, as far as there is room: what became of the first ones.
    /// See [`Database::accept_tick`].
    ///
    /// # Errors
    ///
    /// The queue or the disk is full: none of the times has its call.
    pub async fn accept_ticks(&self, due: Vec<DueTick>) -> Result<Vec<Tick>, Fault> {
        let bounds = **self.bounds.load();
        let accepted = self.run(move |database| {
            let mut ticks = Vec::new();
            for DueTick { name, tick, may_overlap, call } in &due {
                match database.within(|database| database.accept_tick(name, *tick, call, *may_overlap, bounds)) {
                    Ok(accepted) => ticks.push(accepted),
                    // Those before it have their calls.
                    Err(_) if !ticks.is_empty() => break,
                    Err(fault) => return Err(fault),
                }
            }
            Ok(ticks)
        });
        let accepted = accepted.await?;
        self.figures.accept(accepted.iter().filter(|tick| **tick == Tick::Accepted).count() as u64);
        self.due.notify_one();
        Ok(accepted)
    }

    /// Does something with the file. When this returns, it is on the disk; on a fault, it has not happened.
    ///
    /// # Errors
    ///
    /// What `work` returns; the disk does not take it; the file cannot be opened.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Database) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        self.writer().await?.run(work).await
    }

    /// Looks at the file, as the last change that was finished has left it.
    ///
    /// # Errors
    ///
    /// What `look` returns; the file cannot be opened.
    pub async fn read<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Database) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        self.threads().await?.1.run(look).await
    }

    /// Opens the file and lets the tries go on that were under way when the gateway before this one ended. Returns how
    /// many there were.
    ///
    /// # Errors
    ///
    /// The file is not usable.
    pub async fn recover(&self) -> Result<usize, Fault> {
        let owner = self.owner;
        self.run(move |database| {
            database.sweep()?;
            database.recover(now(), owner)
        })
        .await
    }

    async fn writer(&self) -> Result<&Writer, Fault> {
        Ok(&self.threads().await?.0)
    }

    async fn threads(&self) -> Result<&(Writer, Reader), Fault> {
        let open = || async {
            let (folder, bodies, figures) = (self.folder.clone(), self.bodies(), Arc::clone(&self.figures));
            let opened = tokio::task::spawn_blocking(move || {
                bodies::make_folder(&bodies).map_err(|error| Fault::of_io("the folder of calls", &error))?;
                let file = folder.join(FILE);
                let writer = Writer::start(&file, &bodies, figures)?;
                Ok((writer, Reader::start(&file, &bodies)?))
            });
            opened.await.unwrap_or(Err(Fault::Stopped)).inspect_err(|fault| self.figures.fail(fault))
        };
        self.threads.get_or_try_init(open).await
    }

    fn bodies(&self) -> PathBuf {
        self.folder.join(BODIES)
    }
}

/// Accepts a call whose request is a file of its own.
async fn accept_large(
    writer: Writer,
    folder: PathBuf,
    (call, bounds): (NewCall, Bounds),
    then: impl FnOnce(&Accepted) + Send + 'static,
) -> Result<Accepted, Fault> {
    let id = call.id;
    write_body(folder.clone(), id, Part::Request, call.request.clone()).await?;
    let accepted = writer.run_then(move |database| database.accept(&call, bounds), then).await;
    if !matches!(accepted, Ok(Accepted::New)) {
        bodies::remove(&folder, id, Part::Request);
    }
    accepted
}

async fn write_body(folder: PathBuf, id: CallId, part: Part, body: Bytes) -> Result<(), Fault> {
    let written = tokio::task::spawn_blocking(move || bodies::write(&folder, id, part, &body)).await;
    match written {
        Ok(written) => written.map_err(|error| Fault::of_io("the body of a call", &error)),
        Err(_) => Err(Fault::Stopped),
    }
}

/// A time of a schedule that is due.
#[derive(Debug)]
pub struct DueTick {
    /// The name of the schedule.
    pub name: Box<str>,
    /// The time.
    pub tick: Millis,
    /// Whether its call is made while that of the time before has not ended.
    pub may_overlap: bool,
    /// The call.
    pub call: NewCall,
}
