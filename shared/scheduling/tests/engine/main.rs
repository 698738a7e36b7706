//! What holds of the engine whatever the DAG and whatever the image: random DAGs, random images, and whole lives of runs.

#[cfg(test)]
mod choices;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod effects;
#[cfg(test)]
mod generate;
#[cfg(test)]
mod life;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod removed;
#[cfg(test)]
mod steps;
#[cfg(test)]
mod stops;
