"""Settings: from the environment, checked, described."""

from pathlib import Path

import pytest

from app.settings import Settings, SettingsError, described, load_settings, store_options, unknown_variables


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable and no .env file of this machine takes part."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FUNNEL_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_every_setting_has_a_sentence() -> None:
    """Each field is described by one or more whole sentences."""
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_defaults_need_nothing() -> None:
    """Without any variable the bundled model serves ./data on the loopback address."""
    settings = load_settings()
    assert (settings.model, settings.host, settings.port) == ("bundled", "127.0.0.1", 8000)
    assert settings.data_dir == Path("data")


def test_arguments_come_before_the_environment_and_that_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest source of a value wins."""
    Path(".env").write_text("FUNNEL_PORT=1\nFUNNEL_DIM=2\nFUNNEL_MODEL=none\nPORT=9\n", encoding="utf-8")
    monkeypatch.setenv("FUNNEL_PORT", "3")
    monkeypatch.setenv("FUNNEL_DIM", "4")
    settings = load_settings(dim=5)
    assert (settings.model, settings.port, settings.dim) == ("none", 3, 5)


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files pass empty strings for what is not set."""
    monkeypatch.setenv("FUNNEL_PORT", "")
    assert load_settings().port == 8000


def test_wrong_values_are_named_with_what_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for each wrong value says the variable, what is allowed and what was given."""
    monkeypatch.setenv("FUNNEL_PORT", "70000")
    monkeypatch.setenv("FUNNEL_STORAGE", "float8")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    port, storage = sorted(str(caught.value).splitlines())
    assert port.startswith("FUNNEL_PORT: ")
    assert "65535" in port
    assert "'70000'" in port
    assert "float16" in storage
    assert "'float8'" in storage


@pytest.mark.parametrize("word", ["none", "None", " NONE "])
def test_no_default_recall_is_a_word(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """An empty variable is an unset one, so that there has to be one; numbers are numbers still."""
    monkeypatch.setenv("FUNNEL_DEFAULT_RECALL", word)
    assert load_settings().default_recall is None
    assert store_options(load_settings()).default_recall is None
    assert load_settings(default_recall=None).default_recall is None
    monkeypatch.setenv("FUNNEL_DEFAULT_RECALL", "0.9")
    assert load_settings().default_recall == 0.9
    for wrong in ("1.5", "never"):
        monkeypatch.setenv("FUNNEL_DEFAULT_RECALL", wrong)
        with pytest.raises(SettingsError, match="FUNNEL_DEFAULT_RECALL"):
            load_settings()


def test_a_data_directory_may_be_below_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is the home of the user, as in a shell; a user that does not exist is a name like any other."""
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("FUNNEL_DATA_DIR", "~/index")
    assert load_settings().data_dir == Path("/home/somebody/index")
    assert load_settings(data_dir="~nobody-here/index").data_dir == Path("~nobody-here/index")


def test_variables_that_are_no_setting_are_named_with_what_may_have_been_meant() -> None:
    """Typos get the closest setting; variables of others, and of the start script, are left alone."""
    said = unknown_variables(["FUNNEL_MODLE", "FUNNEL_ZZZZZZ", "funnel_port", "FUNNEL_DEMO", "FUNNEL_URL", "MODLE"])
    assert said == "not a setting, and ignored: FUNNEL_MODLE (did you mean FUNNEL_MODEL?), FUNNEL_ZZZZZZ"
    assert unknown_variables(["FUNNEL_PORT", "HOME"]) is None


def test_settings_that_exclude_each_other_are_refused() -> None:
    """With both words."""
    with pytest.raises(SettingsError, match="shortlist_index=packed has codes of 4 bits; shortlist_codes=int8"):
        load_settings(shortlist_index="packed", shortlist_codes="int8")


def test_the_store_gets_its_part() -> None:
    """Store options carry the settings of the same names."""
    settings = load_settings(storage="int8", flat_limit=7, max_limit=5, max_shortlist=50, shortlist_index="hnsw")
    options = store_options(settings)
    for name in ("storage", "flat_limit", "max_limit", "max_shortlist", "shortlist_index", "shortlist_codes"):
        assert getattr(options, name) == getattr(settings, name)


def test_the_page_of_settings_is_up_to_date() -> None:
    """docs/settings.md says what the program says; write it again with the line that this test runs."""
    page = Path(__file__).parent.parent / "docs" / "settings.md"
    assert page.read_text() == described(), "python -c 'from app.settings import *; print(described(), end=\"\")'"
