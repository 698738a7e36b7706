//! Boxes and arrows from left to right, after Sugiyama: ranks, then an order within each rank, then places. Pure, and the same for the
//! same graph.
//!
//! An arrow over several ranks is led through a *bend* in each rank between, so that it passes beside boxes, not through them.

use std::collections::VecDeque;

/// The space between two boxes of a rank.
const GAP_Y: f64 = 18.0;
/// The space between two bends, or a bend and a box.
const GAP_BEND: f64 = 10.0;
/// The space between two ranks.
const GAP_X: f64 = 56.0;
/// How many bends a graph may have; with more, its long arrows go straight.
const BENDS_MAX: usize = 20_000;

/// Where things are.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Layered {
    /// The upper left corner of each box.
    pub(crate) at: Vec<(f64, f64)>,
    /// The bends of each arrow, in its direction, without its ends.
    pub(crate) bends: Vec<Vec<(f64, f64)>>,
    /// Width and height of the whole.
    pub(crate) size: (f64, f64),
}

/// Lays boxes of these sizes out. Arrows are pairs of indexes; a circle of them (groups may depend on each other) is drawn with an arrow
/// that goes back.
pub(crate) fn layered(sizes: &[(f64, f64)], arrows: &[(usize, usize)]) -> Layered {
    if sizes.is_empty() {
        return Layered::default();
    }
    let forward = without_circles(sizes.len(), arrows);
    let ranks = ranks(sizes.len(), &forward);
    let mut net = Net::new(sizes, &ranks, &forward);
    net.order();
    let y = net.heights();
    net.place(sizes, arrows, &forward, &y)
}

/// The arrows, those that close a circle turned round. An arrow from a box to itself stays as it is, and counts for nothing.
fn without_circles(count: usize, arrows: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut out = vec![Vec::new(); count];
    for (index, (from, to)) in arrows.iter().enumerate() {
        if from != to {
            out[*from].push((index, *to));
        }
    }
    let mut turned = arrows.to_vec();
    // 0: not seen, 1: on the way, 2: done.
    let mut seen = vec![0u8; count];
    for root in 0..count {
        if seen[root] != 0 {
            continue;
        }
        seen[root] = 1;
        let mut way = vec![(root, 0)];
        while let Some((node, next)) = way.last_mut() {
            let Some((index, to)) = out[*node].get(*next).copied() else {
                seen[*node] = 2;
                way.pop();
                continue;
            };
            *next += 1;
            match seen[to] {
                0 => {
                    seen[to] = 1;
                    way.push((to, 0));
                }
                1 => turned[index] = (to, arrows[index].0),
                _ => {}
            }
        }
    }
    turned
}

/// The rank of each box: one after the last of those before it; what nothing is before stands close to what comes after.
fn ranks(count: usize, arrows: &[(usize, usize)]) -> Vec<usize> {
    let mut out = vec![Vec::new(); count];
    let mut waits = vec![0usize; count];
    for (from, to) in arrows.iter().filter(|(from, to)| from != to) {
        out[*from].push(*to);
        waits[*to] += 1;
    }
    let roots: Vec<usize> = (0..count).filter(|node| waits[*node] == 0).collect();
    let mut ranks = vec![0usize; count];
    let mut open: VecDeque<usize> = roots.iter().copied().collect();
    while let Some(node) = open.pop_front() {
        for to in &out[node] {
            ranks[*to] = ranks[*to].max(ranks[node] + 1);
            waits[*to] -= 1;
            if waits[*to] == 0 {
                open.push_back(*to);
            }
        }
    }
    for root in roots {
        if let Some(nearest) = out[root].iter().map(|to| ranks[*to]).min() {
            ranks[root] = nearest - 1;
        }
    }
    ranks
}

/// Boxes and bends by rank, with the arrows' pieces between neighbouring ranks.
struct Net {
    /// The members of each rank, in their order.
    layers: Vec<Vec<usize>>,
    /// Neighbours in the rank before.
    before: Vec<Vec<usize>>,
    /// Neighbours in the rank after.
    after: Vec<Vec<usize>>,
    /// Height of each member; bends have none.
    height: Vec<f64>,
    /// Where each arrow's bends begin, and how many they are.
    bends: Vec<(usize, usize)>,
    boxes: usize,
}

impl Net {
    fn new(sizes: &[(f64, f64)], ranks: &[usize], arrows: &[(usize, usize)]) -> Self {
        let boxes = sizes.len();
        let mut net = Self {
            layers: vec![Vec::new(); ranks.iter().max().map_or(0, |most| most + 1)],
            before: vec![Vec::new(); boxes],
            after: vec![Vec::new(); boxes],
            height: sizes.iter().map(|(_, height)| *height).collect(),
            bends: vec![(0, 0); arrows.len()],
            boxes,
        };
        for (node, rank) in ranks.iter().enumerate() {
            net.layers[*rank].push(node);
        }
        let span = |(from, to): &(usize, usize)| ranks[*to].saturating_sub(ranks[*from] + 1);
        let all: usize = arrows.iter().map(span).sum();
        for (index, (from, to)) in arrows.iter().enumerate().filter(|(_, (from, to))| from != to) {
            if all > BENDS_MAX && ranks[*to] > ranks[*from] + 1 {
                continue;
            }
            let mut last = *from;
            net.bends[index] = (net.height.len(), span(&(*from, *to)));
            for layer in &mut net.layers[ranks[*from] + 1..ranks[*to]] {
                let bend = net.height.len();
                net.height.push(0.0);
                net.before.push(vec![last]);
                net.after.push(Vec::new());
                net.after[last].push(bend);
                layer.push(bend);
                last = bend;
            }
            net.after[last].push(*to);
            net.before[*to].push(last);
        }
        net
    }

    /// Orders each rank by where its neighbours stand, forth and back, and keeps the order with the fewest crossings.
    fn order(&mut self) {
        let rounds = if self.height.len() > 4000 { 4 } else { 16 };
        let mut best = (self.crossings(), self.layers.clone());
        let mut place = vec![0.0; self.height.len()];
        for round in 0..rounds {
            if best.0 == 0 {
                break;
            }
            let count = self.layers.len();
            let forth = round % 2 == 0;
            for step in 1..count {
                let rank = if forth { step } else { count - 1 - step };
                let other = if forth { rank - 1 } else { rank + 1 };
                for (at, node) in self.layers[other].iter().enumerate() {
                    place[*node] = at as f64;
                }
                let near = if forth { &self.before } else { &self.after };
                let mut keyed: Vec<(f64, usize)> = Vec::with_capacity(self.layers[rank].len());
                for (at, node) in self.layers[rank].iter().enumerate() {
                    let near = &near[*node];
                    let mean = near.iter().map(|n| place[*n]).sum::<f64>() / near.len() as f64;
                    keyed.push((if near.is_empty() { at as f64 } else { mean }, *node));
                }
                keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
                self.layers[rank] = keyed.into_iter().map(|(_, node)| node).collect();
            }
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.layers.clone());
            }
        }
        self.layers = best.1;
    }

    /// How often pieces of arrows cross.
    fn crossings(&self) -> usize {
        let mut place = vec![0usize; self.height.len()];
        for (at, node) in self.layers.iter().flat_map(|layer| layer.iter().enumerate()) {
            place[*node] = at;
        }
        let mut all = 0;
        for (rank, layer) in self.layers.iter().enumerate() {
            let next = self.layers.get(rank + 1).map_or(0, Vec::len);
            let mut tree = vec![0usize; next + 1];
            let mut seen = 0;
            for node in layer {
                let mut ends: Vec<usize> = self.after[*node].iter().map(|to| place[*to]).collect();
                ends.sort_unstable();
                for end in &ends {
                    // Those seen before that end further down.
                    let (mut at, mut not_after) = (end + 1, 0);
                    while at > 0 {
                        not_after += tree[at];
                        at &= at - 1;
                    }
                    all += seen - not_after;
                }
                for end in ends {
                    seen += 1;
                    let mut at = end + 1;
                    while at <= next {
                        tree[at] += 1;
                        at += at & at.wrapping_neg();
                    }
                }
            }
        }
        all
    }

    /// The middle of each member: as near to its neighbours' as the order and the gaps leave it.
    fn heights(&self) -> Vec<f64> {
        let mut y = vec![0.0; self.height.len()];
        for layer in &self.layers {
            let offsets = self.offsets(layer);
            let middle = offsets.last().copied().unwrap_or_default() / 2.0;
            for (node, offset) in layer.iter().zip(&offsets) {
                y[*node] = offset - middle;
            }
        }
        for round in 0..12 {
            let forth = round % 2 == 0;
            for step in 0..self.layers.len() {
                let rank = if forth { step } else { self.layers.len() - 1 - step };
                let layer = &self.layers[rank];
                let wish = |node: &usize| {
                    let (before, after) = (&self.before[*node], &self.after[*node]);
                    // At last both sides count, so that a box stands in the middle of its arrows.
                    let sides: [&[usize]; 2] = match (round >= 8, forth) {
                        (true, _) => [before, after],
                        (false, true) => [before, &[]],
                        (false, false) => [after, &[]],
                    };
                    let near = sides.iter().flat_map(|side| side.iter());
                    let (sum, count) = near.fold((0.0, 0.0), |(sum, count), n| (sum + y[*n], count + 1.0));
                    if count == 0.0 { y[*node] } else { sum / count }
                };
                let wishes: Vec<f64> = layer.iter().map(wish).collect();
                // Long arrows are worth more than boxes: they ought to be straight.
                let weights: Vec<f64> = layer.iter().map(|node| if *node >= self.boxes { 4.0 } else { 1.0 }).collect();
                let places = nearest(&wishes, &weights, &self.offsets(layer));
                for (node, place) in layer.iter().zip(places) {
                    y[*node] = place;
                }
            }
        }
        y
    }

    /// How far each member of a rank must be below the first one at least.
    fn offsets(&self, layer: &[usize]) -> Vec<f64> {
        let mut offsets = Vec::with_capacity(layer.len());
        let mut at = 0.0;
        for (index, node) in layer.iter().enumerate() {
            if let Some(above) = index.checked_sub(1).map(|i| layer[i]) {
                let gap = if above < self.boxes && *node < self.boxes { GAP_Y } else { GAP_BEND };
                at += f64::midpoint(self.height[above], self.height[*node]) + gap;
            }
            offsets.push(at);
        }
        offsets
    }

    fn place(&self, sizes: &[(f64, f64)], arrows: &[(usize, usize)], forward: &[(usize, usize)], y: &[f64]) -> Layered {
        let top = (0..self.boxes).map(|node| y[node] - self.height[node] / 2.0);
        let top = top.chain(y[self.boxes..].iter().copied()).fold(f64::INFINITY, f64::min);
        let bottom = (0..self.boxes).map(|node| y[node] + self.height[node] / 2.0);
        let bottom = bottom.chain(y[self.boxes..].iter().copied()).fold(f64::NEG_INFINITY, f64::max);
        let mut at = vec![(0.0, 0.0); self.boxes];
        let mut middle_of = vec![0.0; self.height.len()];
        let mut x = 0.0;
        for layer in &self.layers {
            let width = layer.iter().filter(|n| **n < self.boxes).map(|n| sizes[*n].0).fold(0.0, f64::max);
            for node in layer {
                middle_of[*node] = x + width / 2.0;
                if *node < self.boxes {
                    at[*node] = (x + (width - sizes[*node].0) / 2.0, y[*node] - self.height[*node] / 2.0 - top);
                }
            }
            x += width + GAP_X;
        }
        let bends = arrows.iter().zip(forward).zip(&self.bends).map(|((arrow, forward), (first, count))| {
            let mut way: Vec<(f64, f64)> =
                (*first..first + count).map(|bend| (middle_of[bend], y[bend] - top)).collect();
            if arrow != forward {
                way.reverse();
            }
            way
        });
        Layered { at, bends: bends.collect(), size: (x - GAP_X, bottom - top) }
    }
}

/// Places as near to the wishes as possible (least squares) that keep the distances: pool adjacent violators.
fn nearest(wishes: &[f64], weights: &[f64], offsets: &[f64]) -> Vec<f64> {
    // Without the distances, places only have to be in order.
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for ((wish, weight), offset) in wishes.iter().zip(weights).zip(offsets) {
        let mut pool = ((wish - offset) * weight, *weight, 1);
        while let Some(last) = pools.last().filter(|last| last.0 / last.1 > pool.0 / pool.1) {
            pool = (last.0 + pool.0, last.1 + pool.1, last.2 + pool.2);
            pools.pop();
        }
        pools.push(pool);
    }
    let flat = pools.iter().flat_map(|(sum, weight, count)| std::iter::repeat_n(sum / weight, *count));
    flat.zip(offsets).map(|(place, offset)| place + offset).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few graphs, one of them drawn at random from a seed.
    fn graphs() -> Vec<(usize, Vec<(usize, usize)>)> {
        let mut graphs = vec![
            (1, vec![]),
            (3, vec![(0, 1), (1, 2), (0, 2)]),
            (2, vec![(0, 1), (1, 0), (1, 1)]),
            (6, vec![(0, 5), (0, 1), (1, 2), (2, 5), (3, 4), (4, 5)]),
        ];
        let mut seed = 7u64;
        for count in [12usize, 60] {
            let mut arrows = Vec::new();
            for to in 1..count {
                for _ in 0..2 {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    arrows.push(((seed >> 33) as usize % to, to));
                }
            }
            arrows.dedup();
            graphs.push((count, arrows));
        }
        graphs
    }

    #[test]
    fn boxes_do_not_touch_and_arrows_go_right() {
        for (count, arrows) in graphs() {
            let sizes: Vec<(f64, f64)> = (0..count).map(|i| (80.0 + 10.0 * (i % 4) as f64, 44.0)).collect();
            let layout = layered(&sizes, &arrows);
            for a in 0..count {
                for b in 0..a {
                    let apart =
                        |p: f64, size: f64, other: f64, other_size: f64| p + size <= other || other + other_size <= p;
                    let ((ax, ay), (bx, by)) = (layout.at[a], layout.at[b]);
                    let clear = apart(ax, sizes[a].0, bx, sizes[b].0) || apart(ay, sizes[a].1, by, sizes[b].1);
                    assert!(clear, "{a} and {b} of {count} overlap: {layout:?}");
                }
                let (x, y) = layout.at[a];
                let inside = x >= -0.001 && y >= -0.001 && x + sizes[a].0 <= layout.size.0 + 0.001;
                assert!(inside && y + sizes[a].1 <= layout.size.1 + 0.001, "{a} of {count} lies outside: {layout:?}");
            }
            if count != 2 {
                for ((from, to), bends) in arrows.iter().zip(&layout.bends) {
                    let mut x = layout.at[*from].0 + sizes[*from].0;
                    for (next, _) in bends.iter().chain([&layout.at[*to]]) {
                        assert!(*next >= x, "the arrow {from}-{to} of {count} goes back: {layout:?}");
                        x = *next;
                    }
                }
            }
            assert_eq!(layout, layered(&sizes, &arrows));
        }
    }

    #[test]
    fn a_chain_is_straight_and_what_can_be_drawn_without_crossings_is() {
        let sizes = vec![(100.0, 40.0); 4];
        let chain = layered(&sizes, &[(0, 1), (1, 2), (2, 3)]);
        assert!(chain.at.iter().all(|(_, y)| y.abs() < 0.001), "{chain:?}");
        // 0 -> 3 and 1 -> 2 cross unless one rank is turned round.
        let arrows = [(0, 3), (1, 2)];
        let forward = without_circles(4, &arrows);
        let mut net = Net::new(&sizes, &ranks(4, &forward), &forward);
        assert_eq!(net.crossings(), 1);
        net.order();
        assert_eq!(net.crossings(), 0);
    }

    #[test]
    fn places_keep_their_distance_and_stay_near_what_was_wished() {
        assert_eq!(nearest(&[0.0, 100.0], &[1.0, 1.0], &[0.0, 10.0]), [0.0, 100.0]);
        assert_eq!(nearest(&[5.0, 5.0], &[1.0, 1.0], &[0.0, 10.0]), [0.0, 10.0]);
        assert_eq!(nearest(&[5.0, 5.0], &[3.0, 1.0], &[0.0, 10.0]), [2.5, 12.5]);
    }
}
