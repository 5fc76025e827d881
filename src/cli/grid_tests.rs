#![allow(clippy::unwrap_used)]

use super::*;

fn grid() -> Grid {
    let mut grid = Grid::new(
        1,
        [
            Column::name("name"),
            Column::word("tags"),
            Column::number("loss@de ± standard error"),
            Column::number("step"),
            Column::id("run"),
        ],
    );
    let rows = [
        [
            "bert-large-uncased-lr-1e-3",
            NOTHING,
            "0.012239 ± 9.7e-5",
            "1000",
            "01a213d0-4951-773d-9a61-3c0d79eafbf6",
        ],
        [
            "bert-large-uncased-lr-1e-4",
            NOTHING,
            "-1.234e-12 ± 5.3e-15",
            "40",
            "01a213d0-4991-721c-b9d5-486275661a1f",
        ],
    ];
    rows.iter().for_each(|row| grid.row(row.map(str::to_owned)));
    grid
}

fn widest(text: &str) -> usize {
    text.lines().map(width).max().unwrap()
}

#[test]
fn without_a_limit_everything_is_shown() {
    let text = grid().render(None);
    assert!(text.contains("tags") && text.contains("01a213d0-4951-773d-9a61-3c0d79eafbf6"), "{text}");
    assert!(text.contains("loss@de ± standard error"), "{text}");
}

#[test]
fn with_room_only_what_is_empty_is_missing() {
    let text = grid().render(Some(200));
    assert!(!text.contains("tags"), "{text}");
    assert!(
        text.contains("01a213d0-4951-773d-9a61-3c0d79eafbf6") && text.contains("bert-large-uncased-lr-1e-3")
    );
}

#[test]
fn no_number_and_no_word_is_broken_whatever_the_width() {
    for room in 34..140 {
        let text = grid().render(Some(room));
        assert!(widest(&text) <= room, "{room}:\n{text}");
        for whole in ["0.012239 ± 9.7e-5", "-1.234e-12 ± 5.3e-15", "1000", "01a213d0-495", "01a213d0-499"] {
            assert!(text.contains(whole), "{whole} at {room}:\n{text}");
        }
        for word in ["name", "loss@de", "standard", "error", "step", "run"] {
            assert!(text.split_whitespace().any(|found| found == word), "{word} at {room}:\n{text}");
        }
    }
}

#[test]
fn ids_are_cut_before_names_and_both_before_columns_move_below() {
    let text = grid().render(Some(80));
    assert!(text.contains("01a213d0-495…") && text.contains("bert-large-uncased-lr-1e-3"), "{text}");
    let text = grid().render(Some(64));
    assert!(text.contains("bert-large…d-lr-1e-3") && !text.contains("\n\n"), "{text}");
    // Names are shown as long as the narrower gaps leave room for.
    let text = grid().render(Some(55));
    assert!(text.contains("bert-la…lr-1e-3") && !text.contains("\n\n"), "{text}");
    let text = grid().render(Some(40));
    assert_eq!(text.matches("\n\n").count(), 1, "{text}");
    // What a row is about stands beside what was moved below.
    assert_eq!(text.matches("e-3").count(), 2, "{text}");
}

#[test]
fn a_table_without_rows_has_its_titles() {
    let empty = Grid::new(1, [Column::name("name"), Column::number("step")]);
    assert_eq!(empty.render(Some(80)).lines().count(), 2);
    assert!(empty.render(None).contains("step"));
}

#[test]
fn so_much_of_an_id_is_shown_as_tells_it_from_the_others() {
    assert_eq!(telling(["01a213d0-4951", "01a213d0-4991"].into_iter()), 12);
    assert_eq!(telling(["01a213d0-4951", "02a213d0-4991"].into_iter()), 8);
    assert_eq!(telling(["a1", "a1"].into_iter()), 8);
    // Not "01a213d0-".
    assert_eq!(telling(["01a213d0-4", "01a213d0x4"].into_iter()), 10);
}
