//! Keys of a task group.

use super::{Key, Shape, key, no_effect};

/// Keys of a task group.
pub const GROUP: &[Key] = &[
    key("group_name", Shape::Text, "the group's name, where groups are a list"),
    key("parent_group_name", Shape::Text, "the group around it"),
    key("dependencies", Shape::Dependencies, "tasks and groups that must end before the first tasks in here begin"),
    key("tooltip", Shape::Text, "shown when pointed at"),
    key("prefix_group_id", Shape::Boolean, "whether ids inside begin with the group's; true unless set"),
    key("default_args", Shape::DefaultArgs, "what tasks in here take where they say nothing themselves"),
    key("group_display_name", Shape::Text, "shown instead of the id"),
    key("ui_color", Shape::Text, "background in the graph"),
    key("ui_fgcolor", Shape::Text, "foreground in the graph"),
    key("expand", Shape::Expand, "makes one group of each value when it runs"),
    key("expand_kwargs", Shape::Any, "makes one group of each mapping of arguments when it runs"),
    no_effect("group_id", Shape::Text, "the group's name is its id"),
    no_effect("add_suffix_on_collision", Shape::Boolean, "names are unique in a DAG file"),
];
