//! The tables of a part, made ready for its rows.

use crate::batch_load::BatchLoad;
use crate::capabilities::Steps;
use crate::encoder::Encoder;
use crate::loader::{Loader, Stopped};
use crate::schema_cache::SchemaCache;
use crate::table::Changes;

impl<'b, E: Encoder> BatchLoad<'_, 'b, E> {
    /// Makes the tables ready for the rows of a part.
    ///
    /// # Errors
    /// [`Stopped::Waits`] when a change must wait.
    pub async fn settle<L: Loader<Encoder = E>>(
        &mut self,
        loader: &mut L,
        part: &E::Part<'b>,
    ) -> Result<(), Stopped<L::Error>> {
        let mut waits = false;
        for at in 0.. {
            let Some((table, used)) = loader.tools().1.table(part, at) else { break };
            waits |= self.change(loader, table, used).await?;
            if let Some(profile) = self.known.profile(table) {
                let outcome = loader.view(profile, &self.known.tables.list[table]).await?;
                self.known.viewed(table, outcome);
            }
        }
        if waits { Err(Stopped::Waits) } else { Ok(()) }
    }

    /// Makes a table what it shall be; whether some change of it waits.
    async fn change<L: Loader>(&mut self, loader: &mut L, place: usize, used: &[u32]) -> Result<bool, L::Error> {
        let SchemaCache { tables, notices, .. } = &mut *self.known;
        let table = &mut tables.list[place];
        loader.check(table).await?;
        let (changes, steps) = (table.changes(), loader.capabilities().steps);
        if changes.is_empty() && steps != Steps::Together {
            return Ok(false);
        }
        let mut refusals = Vec::new();
        for step in steps.of(changes) {
            let Some(refusal) = loader.apply(table, &step, used, notices).await? else {
                table.applied(&step);
                continue;
            };
            if refusal.columns.len() <= 1 || refusal.whole || step.create {
                refusals.push(refusal);
                continue;
            }
            // One of several is the cause, and the others need not wait with it.
            for column in refusal.columns {
                let (alone, used) = (step.only(column), [u32::try_from(column).unwrap_or(u32::MAX)]);
                match loader.apply(table, &alone, &used, notices).await? {
                    None => table.applied(&alone),
                    Some(refusal) => refusals.push(refusal),
                }
            }
        }
        self.known.wait(place, refusals)
    }
}

impl Steps {
    /// Changes of one table in the order in which they are made.
    fn of(self, changes: Changes) -> Vec<Changes> {
        if changes.create || self == Self::Together {
            return vec![changes];
        }
        let widen = Changes { widen: changes.widen, ..Changes::default() };
        let add = match self {
            Self::EachColumn => changes.add.iter().map(|at| Changes { add: vec![*at], ..Changes::default() }).collect(),
            _ => vec![Changes { add: changes.add, ..Changes::default() }],
        };
        add.into_iter().chain([widen]).filter(|changes| !changes.is_empty()).collect()
    }
}
