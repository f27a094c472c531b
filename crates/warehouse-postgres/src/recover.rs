//! A part that was refused: what can be loaded of it in another way is.
//!
//! Rows whose key is there already are left out, and rows that are too wide for a page come again with their fields in the
//! overflow. Whatever else is refused is found by halves.

use std::collections::HashSet;
use std::ops::Range;

use tidegate_warehouse::batch_load::BatchLoad;
use tidegate_warehouse::loader::{LoadError, Stopped};

use super::error::PostgresError;
use super::load::{LOOKED_UP_PARTS, PostgresLoader, copy};
use super::part::{CopyPart, CopyShapes};

/// Rows that take less of a page than this are not suspected of being too wide for it.
const WIDTH_MAX: u32 = 7_000;
/// A key that is there, then rows that are too wide: either may hide the other.
const WAYS: usize = 3;

impl PostgresLoader {
    /// The part of these items was refused: loads it in another way.
    ///
    /// # Errors
    /// [`Stopped::Part`] when there is none, and nothing of the part is left.
    pub(super) async fn recover<'b>(
        &mut self,
        (items, mut part): (Range<usize>, CopyPart),
        mut error: PostgresError,
        load: &mut BatchLoad<'_, 'b, CopyShapes>,
    ) -> Result<(), Stopped<PostgresError>> {
        for _ in 0..WAYS {
            if !error.is_of_row() {
                return Err(error.into());
            }
            error = self.session()?.wire.undo(error).await?;
            if error.is_of_width() {
                let wide = if items.len() == 1 { HashSet::from([items.start]) } else { part.wide(WIDTH_MAX) };
                let narrowed = load.narrowed((&mut self.found, &mut self.shapes), items.clone(), &wide).await;
                part = narrowed.map_err(PostgresError::from)?.part;
                load.settle(self, &part).await?;
            } else if !error.is_of_key() {
                return Err(Stopped::Part(error));
            }
            match copy(&mut self.session()?.wire, &mut part, true, false).await {
                Ok(duplicates) => {
                    self.looked_up_parts = LOOKED_UP_PARTS;
                    load.count(&items, duplicates);
                    return Ok(());
                }
                Err(next) => error = next,
            }
        }
        if !error.is_of_row() {
            return Err(error.into());
        }
        Err(Stopped::Part(self.session()?.wire.undo(error).await?))
    }
}
