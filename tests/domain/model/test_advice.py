from domain.model.advice import warnings_of


def test_nearly_every_version_has_no_warning() -> None:
    assert (
        warnings_of(reference="ada/words@1.0.0", yanked=False, spell_deprecation=None, version_deprecation=None) == ()
    )


def test_each_reason_is_told_by_its_code_and_names_what_it_is_about() -> None:
    found = warnings_of(
        reference="ada/words@1.0.0", yanked=True, spell_deprecation="use ada/text", version_deprecation="wrong counts"
    )
    assert [warning.code for warning in found] == ["yanked", "spell_deprecated", "version_deprecated"]
    assert "ada/words@1.0.0 was yanked" in found[0].message
    assert found[1].message == "ada/words is deprecated: use ada/text"
    assert found[2].message == "ada/words@1.0.0 is deprecated: wrong counts"
