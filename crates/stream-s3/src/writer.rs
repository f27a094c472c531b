//! One batch, one commit: announced, written, counted.

use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tidegate_object_store::OpenedPlace;
use tidegate_process::clock;
use tidegate_stream::{OutgoingMessage, RefusedMessage, StreamError, StreamReply, StreamWriter};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};
use tokio::task::JoinHandle;

use crate::encode::{self, EncodedFile, FileCompression};
use crate::error::FilesError;
use crate::folder::illegal_folder;
use crate::ledger::{LATE_US, TakenLedger};

/// Files being written at once.
const FILES_MAX: usize = 4;

/// Writes the files of one sync.
pub(crate) struct FilesWriter {
    pub(crate) objects: OpenedPlace,
    /// As people spell it.
    pub(crate) place: String,
    pub(crate) compression: FileCompression,
    /// What the names of files begin with.
    pub(crate) stem: String,
    pub(crate) ledger: TakenLedger,
    /// The ledger belongs to another server.
    pub(crate) is_of_another: bool,
    /// Held while a file is written, which goes on when nobody waits for it any more.
    pub(crate) under_way: Arc<RwLock<()>>,
}

impl FilesWriter {
    async fn put(&mut self, messages: Vec<OutgoingMessage>, next: u64) -> Result<Vec<RefusedMessage>, StreamError> {
        self.is_ours()?;
        let refused = messages.iter().filter_map(|message| {
            illegal_folder(&message.topic).map(|reason| RefusedMessage { index: message.index, reason })
        });
        let refused: Vec<RefusedMessage> = refused.collect();
        if !refused.is_empty() {
            return Ok(refused);
        }
        match self.commit(messages, next).await {
            Ok(()) => Ok(Vec::new()),
            Err(error) => Err(error.of_stream(&self.place)),
        }
    }

    fn is_ours(&self) -> Result<(), StreamError> {
        if self.is_of_another { Err(StreamError::ledger_of_another(&self.place, &self.stem)) } else { Ok(()) }
    }

    async fn commit(&mut self, messages: Vec<OutgoingMessage>, next: u64) -> Result<(), FilesError> {
        if messages.is_empty() {
            return self.ledger.count(next).await;
        }
        let name = format!("{}-{}{}", self.stem, self.ledger.range(next), self.compression.ending());
        let compression = self.compression;
        let files = tokio::task::spawn_blocking(move || encode::files(messages, compression, &name)).await;
        let files = files.map_err(|_| FilesError::Gone)?.map_err(FilesError::Encode)?;
        let announced_us = clock::now_us();
        self.ledger.announce(next, &files).await?;
        let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
        self.write_files(files, announced_us).await?;
        fail::fail_point!("stream_before_commit", |_| std::process::abort());
        if let Err(error) = self.ledger.count(next).await {
            if matches!(error, FilesError::Replaced { .. }) {
                self.ledger.delete_own(&paths).await?;
            }
            return Err(error);
        }
        fail::fail_point!("stream_after_commit", |_| std::process::abort());
        Ok(())
    }

    /// Nothing is being written any more when it has ended, however it ends.
    async fn write_files(&self, files: Vec<EncodedFile>, announced_us: i64) -> Result<(), FilesError> {
        let guard = Arc::new(Arc::clone(&self.under_way).read_owned().await);
        let mut writing = FuturesUnordered::new();
        let mut left = files.into_iter();
        let mut outcome = Ok(());
        loop {
            while outcome.is_ok()
                && writing.len() < FILES_MAX
                && let Some(file) = left.next()
            {
                if clock::now_us().saturating_sub(announced_us) > LATE_US {
                    outcome = Err(FilesError::Late);
                } else {
                    writing.push(self.begun(file, &guard));
                }
            }
            let Some(written) = writing.next().await else { return outcome };
            let written = written.unwrap_or(Err(FilesError::Gone));
            fail::fail_point!("stream_after_file", |_| std::process::abort());
            if outcome.is_ok() {
                outcome = written;
            }
        }
    }

    /// A task of its own, so that it comes to its end when the call is dropped: whoever opens the next writer waits for that.
    fn begun(&self, file: EncodedFile, guard: &Arc<OwnedRwLockReadGuard<()>>) -> JoinHandle<Result<(), FilesError>> {
        let (objects, guard) = (self.objects.clone(), Arc::clone(guard));
        tokio::spawn(async move {
            let written = objects.put(&file.path, file.bytes).await;
            drop(guard);
            written.map_err(FilesError::from)
        })
    }
}

impl StreamWriter for FilesWriter {
    fn own(&mut self, owner: &str) {
        self.is_of_another = !self.ledger.own(owner);
    }

    fn durable_to(&mut self) -> StreamReply<'_, Option<u64>> {
        Box::pin(async move {
            self.is_ours()?;
            self.ledger.durable_to().await.map_err(|error| error.of_stream(&self.place))
        })
    }

    fn write(&mut self, messages: Vec<OutgoingMessage>, next: u64) -> StreamReply<'_, Vec<RefusedMessage>> {
        Box::pin(self.put(messages, next))
    }

    fn close(&mut self) -> StreamReply<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}
