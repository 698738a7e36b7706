//! Every operator and sensor, from a DAG file to the states of its run: real processes, real files, a clock that leaps over waits.

#[cfg(test)]
mod assets;
#[cfg(test)]
mod branches;
#[cfg(test)]
mod callbacks;
#[cfg(test)]
mod environments;
#[cfg(test)]
mod files;
#[cfg(test)]
mod http;
#[cfg(test)]
mod mapped;
#[cfg(test)]
mod others;
#[cfg(test)]
mod people;
#[cfg(test)]
mod processes;
#[cfg(test)]
mod sensors;
#[cfg(test)]
mod taskflow;
#[cfg(test)]
mod world;
