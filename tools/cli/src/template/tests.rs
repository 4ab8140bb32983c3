use super::{Shape, Template};
use serde_json::{Value, json};

fn data() -> Value {
    json!({
        "Name": "docker.io/library/debian",
        "Digest": "sha256:abc",
        "RepoTags": ["12", "latest"],
        "Size": 1234567,
        "Empty": [],
        "Labels": {"org.opencontainers.image.version": "12.1", "b": "2"},
        "Config": {"Env": ["PATH=/bin", "A=b"], "User": "", "Cmd": null},
        "Layers": [
            {"Digest": "sha256:1", "Size": 10},
            {"Digest": "sha256:2", "Size": 20},
        ],
    })
}

#[track_caller]
fn render(template: &str) -> String {
    let parsed: Template = template
        .parse()
        .unwrap_or_else(|error| panic!("{template}: {error}"));
    parsed
        .render(&data())
        .unwrap_or_else(|error| panic!("{template}: {error}"))
}

#[test]
fn what_people_write() {
    let table = [
        (
            "{{.Name}} {{.Digest}}",
            "docker.io/library/debian sha256:abc",
        ),
        ("{{ .Name }}", "docker.io/library/debian"),
        ("{{.name}}", "docker.io/library/debian"),
        ("{{.RepoTags}}", "[12 latest]"),
        ("{{range .RepoTags}}{{.}}\n{{end}}", "12\nlatest\n"),
        (
            "{{range .Layers}}{{.Digest}}={{.Size}};{{end}}",
            "sha256:1=10;sha256:2=20;",
        ),
        (
            "{{range $i, $l := .Layers}}{{if $i}},{{end}}{{$l.Digest}}{{end}}",
            "sha256:1,sha256:2",
        ),
        (
            "{{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}",
            "b=2 org.opencontainers.image.version=12.1 ",
        ),
        ("{{json .Config.Env}}", r#"["PATH=/bin","A=b"]"#),
        (
            "{{json .Labels}}",
            r#"{"b":"2","org.opencontainers.image.version":"12.1"}"#,
        ),
        (
            "{{.Labels}}",
            "map[b:2 org.opencontainers.image.version:12.1]",
        ),
        (
            r#"{{index .Labels "org.opencontainers.image.version"}}"#,
            "12.1",
        ),
        (r#"{{index .Labels "none"}}"#, ""),
        ("{{.Labels.none}}", "<no value>"),
        ("{{(index .Layers 1).Digest}}", "sha256:2"),
        ("{{index .Layers 0 \"Size\"}}", "10"),
        ("{{len .Layers}}", "2"),
        (r#"{{join .Config.Env ", "}}"#, "PATH=/bin, A=b"),
        (r#"{{.Config.Env | join ", "}}"#, "PATH=/bin, A=b"),
        (
            r#"{{if eq .Digest "sha256:abc"}}same{{else}}other{{end}}"#,
            "same",
        ),
        (
            "{{if .Config.User}}{{.Config.User}}{{else}}root{{end}}",
            "root",
        ),
        ("{{if .Empty}}a{{else if .Name}}b{{else}}c{{end}}", "b"),
        ("{{with .Config}}{{index .Env 0}}{{end}}", "PATH=/bin"),
        (
            "{{with .Config.User}}{{.}}{{else}}none of {{.Digest}}{{end}}",
            "none of sha256:abc",
        ),
        ("{{range .Empty}}x{{else}}nothing{{end}}", "nothing"),
        ("{{range .Config.Cmd}}x{{end}}", ""),
        (
            "{{range .Layers}}{{$.Digest}} {{end}}",
            "sha256:abc sha256:abc ",
        ),
        ("{{$d := .Digest}}{{$d}}", "sha256:abc"),
        (
            "{{$n := 0}}{{range .Layers}}{{$n = .Size}}{{end}}{{$n}}",
            "20",
        ),
        ("{{- .Digest -}}  \n x", "sha256:abcx"),
        ("a  {{- /* a comment */ -}}  b", "ab"),
        (
            r#"{{printf "%-6s|%5d|%05d|%.3s|%q" "ab" 42 42 .Digest "x\"y"}}"#,
            r#"ab    |   42|00042|sha|"x\"y""#,
        ),
        (r#"{{.Digest | printf "%s!"}}"#, "sha256:abc!"),
        (
            "{{.Name | upper | lower | title}}",
            "Docker.Io/Library/Debian",
        ),
        (r#"{{index (split .Digest ":") 1}}"#, "abc"),
        ("{{truncate .Digest 6}}{{slice .Digest 7}}", "sha256abc"),
        (
            "{{and .Name .Config.User}}|{{or .Config.User .Digest}}|{{not .Empty}}",
            "|sha256:abc|true",
        ),
        (
            "{{if and (gt (len .Layers) 1) (lt .Size 2000000)}}yes{{end}}",
            "yes",
        ),
        (
            "{{if eq .Digest `x` \"sha256:abc\"}}one of{{end}}",
            "one of",
        ),
        (
            "{{range .Layers}}{{if eq .Size 20}}{{break}}{{end}}{{.Size}}{{end}}",
            "10",
        ),
        (
            "{{range .Layers}}{{if eq .Size 10}}{{continue}}{{end}}{{.Size}}{{end}}",
            "20",
        ),
        (r#"{{println "a" 1 true}}"#, "a 1 true\n"),
        (r#"{{"a}}b"}}"#, "a}}b"),
        ("plain", "plain"),
    ];
    for (template, expected) in table {
        assert_eq!(render(template), expected, "{template}");
    }
}

#[test]
fn mistakes_are_named() {
    let table = [
        ("{{.Nme}}", "no field Nme"),
        ("{{.Name", "never closed"),
        ("{{Name}}", "begin with a dot"),
        ("{{if .Name}}x", "no {{end}}"),
        ("{{end}}", "ends nothing"),
        ("{{else}}", "belongs to nothing"),
        ("{{}}", "empty"),
        ("{{.Name | }}", "empty"),
        ("{{(.Name}}", "never closed"),
        ("{{.Name)}}", "closes nothing"),
        ("{{.Name .Digest}}", "arguments"),
        ("{{$x}}", "no variable $x"),
        ("{{index .Layers 9}}", "out of range"),
        ("{{join .Name 3}}", "join cannot"),
        ("{{range .Name}}{{end}}", "range cannot"),
        ("{{.Name.Deeper}}", "a text has no field"),
        ("{{printf \"%d\" .Name}}", "%d"),
        ("{{printf \"%s\"}}", "nothing is left"),
        ("{{printf \"%s\" 1 2}}", "more values"),
        ("{{template \"x\"}}", "not supported"),
        ("{{\"x}}", "never closed"),
        ("{{\"\\y\"}}", "escape"),
        ("{{1x}}", "no number"),
        ("{{break}}", "no function break"),
        ("{{lt .Name 1}}", "lt cannot"),
        ("{{? }}", "unexpected"),
    ];
    for (template, expected) in table {
        let error = match template.parse::<Template>() {
            Err(error) => error,
            Ok(parsed) => parsed.render(&data()).expect_err(template),
        };
        assert!(error.to_string().contains(expected), "{template}: {error}");
    }
}

#[test]
fn deep_and_long_templates_are_refused() {
    let deep = "{{if .Name}}".repeat(5000);
    assert!(deep.parse::<Template>().is_err());
    let brackets = format!("{{{{{}.Name{}}}}}", "(".repeat(5000), ")".repeat(5000));
    assert!(brackets.parse::<Template>().is_err());
    let chain = format!("{{{{if .A}}}}{}{{{{end}}}}", "{{else if .A}}".repeat(3000));
    assert!(chain.parse::<Template>().is_err());
    assert!("x".repeat(100_000).parse::<Template>().is_err());
}

#[test]
fn shapes_are_text_json_or_a_template() {
    assert_eq!("json".parse(), Ok(Shape::Json));
    assert_eq!("text".parse(), Ok(Shape::Text));
    let Ok(Shape::Template(template)) = r#"{{.Digest}}\t{{"\\n"}}\n"#.parse() else {
        panic!("a template");
    };
    assert_eq!(template.render(&data()).unwrap(), "sha256:abc\t\\n\n");
    assert!(
        "yaml"
            .parse::<Shape>()
            .unwrap_err()
            .to_string()
            .contains("yaml")
    );
}
