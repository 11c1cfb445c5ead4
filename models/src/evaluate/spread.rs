//! Mean, median and worst of some values: never the mean alone.

/// How values lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub mean: f64,
    /// The mean of the two middle ones where their number is even.
    pub median: f64,
    /// The value that is farthest from good.
    pub worst: f64,
    /// How many values.
    pub count: usize,
}

impl Spread {
    /// Of scores: the lowest is the worst. `None` without values.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (count, middle) = (sorted.len(), sorted.len() / 2);
        let &worst = sorted.first()?;
        let median = if count % 2 == 1 {
            sorted[middle]
        } else {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        };
        Some(Spread { mean: sorted.iter().sum::<f64>() / count as f64, median, worst, count })
    }

    /// Of distances or error rates: the highest is the worst.
    pub fn of_distances(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let Spread { mean, median, worst, count } = Spread::of(values.into_iter().map(|v| -v))?;
        Some(Spread { mean: -mean, median: -median, worst: -worst, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_score_is_the_lowest_and_the_worst_distance_the_highest() {
        let expected = Spread { mean: 3.0, median: 2.5, worst: 1.0, count: 4 };
        assert_eq!(Spread::of([6.0, 2.0, 1.0, 3.0]), Some(expected));
        assert_eq!(
            Spread::of_distances([6.0, 2.0, 1.0, 3.0]),
            Some(Spread { worst: 6.0, ..expected })
        );
        assert_eq!(Spread::of([5.0]).map(|s| (s.median, s.count)), Some((5.0, 1)));
        assert_eq!(Spread::of([]), None);
    }
}
