//! Writes the report's LaTeX: a `table` environment per table of a board, with booktabs.
//!
//! The best value of a column is bold, as are others that look the same in print. Joint, the upper bound, does not take
//! part, nor do methods that saw stand-in pictures, which come last. A dagger marks methods that cannot be told apart from
//! the best one in the main metric after the last task.

use super::board::{Board, Entry};
use super::table::{APART, Table, TableColumn};
use crate::escape::{file_name, latex};
use crate::methods::registry::is_upper_bound;
use crate::metrics::value::Entered;

/// Prints the tables of a board.
pub fn tables(board: &Board, tables: &[Table<'_>]) -> String {
    let shown = tables.iter().filter(|table| !table.columns.is_empty());
    let text: String = shown.map(|table| self::table(board, table)).collect();
    format!("% Needs \\usepackage{{booktabs}}. Percent.\n{text}")
}

fn table(board: &Board, table: &Table<'_>) -> String {
    let header: String = table.columns.iter().map(|column| format!(" & {}", heading(&column.title))).collect();
    let (bounds, learners): (Vec<_>, Vec<_>) =
        shown(table, table.entries).partition(|(_, entry)| is_upper_bound(&entry.method));
    let best: Vec<Option<String>> = table.columns.iter().map(|column| best(column, &learners)).collect();
    let row =
        |(index, entry): &(usize, &Entry)| row(table, entry, if tied(board, *index) { "\\dag" } else { "" }, &best);
    let learners: String = learners.iter().map(row).collect();
    let bounds: String = bounds.iter().map(row).collect();
    let middle = if learners.is_empty() || bounds.is_empty() { "" } else { "\\midrule\n" };
    let label = format!("tab:{}-{}", file_name(&board.benchmark), table.name);
    format!(
        "\\begin{{table}}[t]\n\\centering\\footnotesize\\setlength{{\\tabcolsep}}{{3pt}}\n\
         \\caption{{{}: {} (percent; {} test rows). Bold: best but for Joint. \\dag: not told apart from the best of them \
         in {} after the last task.{}}}\n\\label{{{label}}}\n\\begin{{tabular}}{{lr{}}}\n\\toprule\n\
         method & seeds{header} \\\\\n\\midrule\n{learners}{middle}{bounds}{}\\bottomrule\n\\end{{tabular}}\n\
         \\end{{table}}\n",
        latex(&board.benchmark),
        latex(&table.title),
        table.all().next().map_or(0, |entry| entry.ranking().instances),
        latex(&board.metrics[0].title),
        latex(&left_out(table)),
        "r".repeat(table.columns.len()),
        apart(table),
    )
}

/// Says which means leave out some of their classes, tasks or stages.
fn left_out(table: &Table<'_>) -> String {
    let fewer = table.entered.iter().filter(|(_, Entered { n, of })| n < of);
    let means: Vec<String> = fewer.map(|(column, Entered { n, of })| format!("{column} {n} of {of}")).collect();
    let said = " Means leave out classes, tasks and stages without test rows; n:";
    if means.is_empty() { String::new() } else { format!("{said} {}.", means.join(", ")) }
}

/// Prints the rows with stand-in pictures, and why they are listed apart.
fn apart(table: &Table<'_>) -> String {
    if shown(table, table.apart).next().is_none() {
        return String::new();
    }
    let none = vec![None; table.columns.len()];
    let rows: String = shown(table, table.apart).map(|(_, entry)| row(table, entry, "", &none)).collect();
    let width = table.columns.len() + 2;
    let middle = if shown(table, table.entries).next().is_none() { "" } else { "\\midrule\n" };
    format!("{middle}\\multicolumn{{{width}}}{{p{{\\linewidth}}}}{{{APART}}} \\\\\n{rows}")
}

/// Returns the entries that a table shows, each with its place among those of the board.
fn shown<'a>(table: &'a Table<'_>, entries: &'a [Entry]) -> impl Iterator<Item = (usize, &'a Entry)> {
    entries.iter().enumerate().filter(|(_, entry)| table.shows(entry))
}

/// Prints a heading, its parts below each other.
fn heading(title: &str) -> String {
    let parts: Vec<String> = title.split(", ").map(latex).collect();
    if parts.len() == 1 { parts.concat() } else { format!("\\shortstack[r]{{{}}}", parts.join("\\\\")) }
}

fn row(table: &Table<'_>, entry: &Entry, mark: &str, best: &[Option<String>]) -> String {
    let cells = table.columns.iter().zip(best).map(|(column, best)| cell(column, entry, best.as_deref()));
    let seeds = entry.seeds.len();
    format!(
        "{}{mark} & {seeds}{} \\\\\n",
        latex(&entry.label),
        cells.map(|cell| format!(" & {cell}")).collect::<String>()
    )
}

fn cell(column: &TableColumn, entry: &Entry, best: Option<&str>) -> String {
    let Some(estimate) = column.estimate(entry) else {
        return String::new();
    };
    let Some(mean) = estimate.mean.number().map(print) else {
        return "undefined".to_owned();
    };
    let bold = !is_upper_bound(&entry.method) && best == Some(mean.as_str());
    let text = if bold { format!("\\textbf{{{mean}}}") } else { mean };
    let half = estimate.seed_interval.map(|[low, high]| format!(" $\\pm$ {}", print((high - low) / 2.0)));
    text + &half.unwrap_or_default()
}

/// Prints a share in percent, with a minus sign rather than a hyphen.
fn print(share: f64) -> String {
    format!("{:.1}", share * 100.0).replace('-', "$-$")
}

/// Returns the best mean of a column as it is printed.
fn best(column: &TableColumn, learners: &[(usize, &Entry)]) -> Option<String> {
    let means = learners.iter().filter_map(|(_, entry)| column.mean(entry));
    let sign = if column.higher_is_better { 1.0 } else { -1.0 };
    means.max_by(|a, b| (sign * a).total_cmp(&(sign * b))).map(print)
}

/// Tells whether an entry cannot be told apart from the best learner, which is another one. Entries are in the order of the
/// main metric.
fn tied(board: &Board, index: usize) -> bool {
    let best = board.entries.iter().position(|entry| !is_upper_bound(&entry.method));
    let bound = is_upper_bound(&board.entries[index].method);
    let test = |one: usize, other: usize| board.comparisons.iter().find(|pair| (pair.one, pair.other) == (one, other));
    best.filter(|_| !bound).and_then(|best| test(best, index)).is_some_and(|pair| !pair.significant())
}

#[cfg(test)]
mod tests {
    use super::{heading, print};

    #[test]
    fn headings_and_numbers_are_set_for_print() {
        assert_eq!(print(-0.125), "$-$12.5");
        assert_eq!([heading("T1"), heading("a_b, c")], ["T1", "\\shortstack[r]{a\\_b\\\\c}"]);
    }
}
