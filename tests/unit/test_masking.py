"""What is blotted out of environments and texts, and what is left readable."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from jobrunner_cli.engine.masking import HARMLESS_VARIABLES, MASK, Masker, mask_environment


def test_variables_that_are_not_known_to_be_harmless_are_masked() -> None:
    shown = mask_environment(["DATABASE_URL=mssql://u:p@h/db", "HOME=/tmp", "A=b=c", "EMPTY="])
    assert shown == [f"DATABASE_URL={MASK}", f"HOME={MASK}", f"A={MASK}", f"EMPTY={MASK}"]


@pytest.mark.parametrize("name", sorted(HARMLESS_VARIABLES))
def test_harmless_variables_are_shown(name: str) -> None:
    assert mask_environment([f"{name}=a=b"]) == [f"{name}=a=b"]


def test_names_of_harmless_variables_are_case_sensitive() -> None:
    assert mask_environment(["path=/bin"]) == [f"path={MASK}"]


def test_variable_without_a_value_stays() -> None:
    assert mask_environment(["NAME"]) == ["NAME"]


def test_every_occurrence_of_each_secret_is_masked() -> None:
    masker = Masker(["sw0rdfish", "tok.en*"])
    assert masker.mask("a sw0rdfish, b tok.en*, c sw0rdfish") == f"a {MASK}, b {MASK}, c {MASK}"
    assert masker.mask("tokXenn") == "tokXenn"


@pytest.mark.parametrize("written", [quote("p@ss/w rd"), quote("p@ss/w rd", safe=""), "p%40ss%2Fw+rd"])
def test_url_quoted_forms_are_masked(written: str) -> None:
    assert Masker(["p@ss/w rd"]).mask(f"https://user:{written}@host/") == f"https://user:{MASK}@host/"


def test_json_form_is_masked() -> None:
    secret = 'quote" and \\ and ü'
    assert secret not in json.loads(Masker([secret]).mask(json.dumps({"key": secret})))["key"]


def test_secret_with_a_line_end_is_masked_without_it() -> None:
    assert Masker(["sw0rdfish\n"]).mask("it is sw0rdfish.") == f"it is {MASK}."


def test_longer_secret_wins_over_one_that_it_contains() -> None:
    assert Masker(["secret", "secret-and-more"]).mask("x secret-and-more y") == f"x {MASK} y"


def test_lines_of_a_key_are_masked_singly_but_not_its_armour() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END PRIVATE KEY-----\n"
    masker = Masker([key])
    assert masker.mask("line: MIIEvQIBADANBgkqhkiG9w0") == f"line: {MASK}"
    assert masker.mask("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"
    assert masker.mask(key) == MASK


@pytest.mark.parametrize("secrets", [[], [""], ["abc"], ["  a\n"]])
def test_short_or_absent_secrets_leave_text_alone(secrets: list[str]) -> None:
    assert Masker(secrets).mask("abc  a\nb") == "abc  a\nb"


def test_repr_does_not_show_secrets() -> None:
    assert "sw0rdfish" not in repr(Masker(["sw0rdfish"]))
