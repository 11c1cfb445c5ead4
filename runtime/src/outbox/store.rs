//! The file of the outbox. After one failed access redb refuses every other until the file is opened anew (a disk that was full
//! for a minute would silence the device until its next start), so that is done here.

use super::OutboxError;
use redb::{Database, Durability, ReadTransaction, ReadableDatabase, WriteTransaction};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

/// Page cache. Rows are small and leave in order, so a few pages do; redb's own default is 1 GiB.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    /// Empty while the file cannot be opened again. Held for reading by every transaction: none is open when it is replaced.
    database: RwLock<Option<Database>>,
    failed: AtomicBool,
}

impl Store {
    /// Opens or creates the file.
    pub(super) fn open(path: &Path) -> Result<Store, OutboxError> {
        let database = RwLock::new(Some(open(path)?));
        Ok(Store { path: path.to_owned(), database, failed: AtomicBool::new(false) })
    }

    /// All that `work` writes or nothing of it; on the disk when this returns.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, OutboxError>,
    ) -> Result<T, OutboxError> {
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            // redb's default, restated because the promise of this file hangs on it.
            transaction
                .set_durability(Durability::Immediate)
                .expect("no savepoint exists in this database");
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })
    }

    /// What `work` reads, all of one moment.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&ReadTransaction) -> Result<T, OutboxError>,
    ) -> Result<T, OutboxError> {
        self.with(|database| work(&database.begin_read()?))
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, OutboxError>,
    ) -> Result<T, OutboxError> {
        if self.failed.load(Ordering::Acquire) {
            self.open_again()?;
        }
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let done = match &*database {
            Some(database) => work(database),
            None => Err(redb::Error::PreviousIo.into()),
        };
        if done.as_ref().is_err_and(is_of_the_disk) {
            self.failed.store(true, Ordering::Release);
        }
        done
    }

    fn open_again(&self) -> Result<(), OutboxError> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread was faster.
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        // Closed first: it has a lock on the file.
        *database = None;
        *database = Some(open(&self.path)?);
        self.failed.store(false, Ordering::Release);
        tracing::warn!("the outbox was opened anew after a fault of the disk; the site's move");
        Ok(())
    }
}

fn open(path: &Path) -> Result<Database, OutboxError> {
    let failed = |error: redb::DatabaseError| OutboxError::Open {
        path: path.to_owned(),
        source: Box::new(error.into()),
    };
    Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(failed)
}

fn is_of_the_disk(error: &OutboxError) -> bool {
    use redb::Error::{Io, PreviousIo};
    matches!(error, OutboxError::Store(error) if matches!(**error, Io(_) | PreviousIo))
}
