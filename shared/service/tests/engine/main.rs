//! Use cases over ports in memory.

#[cfg(test)]
mod assets;
#[cfg(test)]
mod backfills;
#[cfg(test)]
mod costs;
#[cfg(test)]
mod dates;
#[cfg(test)]
mod files;
#[cfg(test)]
mod history;
#[cfg(test)]
mod interventions;
#[cfg(test)]
mod large;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod mapped;
#[cfg(test)]
mod mapped_limits;
#[cfg(test)]
mod past;
#[cfg(test)]
mod pauses;
#[cfg(test)]
mod queued;
#[cfg(test)]
mod triggers;
#[cfg(test)]
mod turns;
#[cfg(test)]
mod unreadable;
#[cfg(test)]
mod upgrades;
#[cfg(test)]
mod versions;
#[cfg(test)]
mod world;
#[cfg(test)]
mod xcoms;
