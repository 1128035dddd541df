//! The date of a day, for names and files of ours. No clock, and nothing else of time.

/// Year, month and day, in the proleptic Gregorian calendar, `days` days after
/// 1970-01-01.
///
/// As in "chrono-Compatible Low-Level Date Algorithms" (H. Hinnant): eras have 400
/// years, and years begin in March, so that the leap day is the last of its year.
pub(crate) fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_date_minus_u() {
        // From GNU date: `date -u -d @SECONDS +%F`.
        for (seconds, expected) in [
            (0_u64, (1970, 1, 1)),
            (951_782_400, (2000, 2, 29)),
            (951_868_800, (2000, 3, 1)),
            (1_735_603_200, (2024, 12, 31)),
            (4_107_542_400, (2100, 3, 1)),
            (4_107_456_000, (2100, 2, 28)),
        ] {
            assert_eq!(civil_date(seconds / 86_400), expected, "{seconds}");
        }
    }
}
