package config

import (
	"errors"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/caarlos0/env/v11"

	"github.com/idaas-exporter/idaas-token-exporter/poller"
)

// setting is one field of Config, with what its tags say; a ' in help and accepts marks code.
type setting struct {
	reflect.StructField
	name, fallback, help, accepts string
	oneOf                         []string
	lowest, highest               string // both or none
}

// settings returns all settings in the order of Config.
func settings() []setting {
	var all []setting
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		tag := f.Tag.Get
		if tag("env") == "-" {
			continue
		}
		s := setting{
			StructField: f, name: tag("env"), fallback: tag("envDefault"), help: tag("help"), accepts: tag("accepts"),
			oneOf: strings.Fields(tag("oneof")),
		}
		if len(s.oneOf) > 0 {
			s.accepts = "'" + strings.Join(s.oneOf, "', '") + "'"
		}
		var bounded bool
		if s.lowest, s.highest, bounded = strings.Cut(tag("range"), " "); bounded {
			s.accepts += " from '" + s.lowest + "' to '" + s.highest + "'"
		}
		all = append(all, s)
	}
	return all
}

func lookup(name string) setting {
	all := settings()
	return all[slices.IndexFunc(all, func(s setting) bool { return s.name == name })]
}

// fault returns what is wrong with value; a secret is left out.
func (s setting) fault(value, problem string) Fault {
	if s.Type == reflect.TypeFor[poller.Secret]() {
		value = ""
	}
	return Fault{Name: s.name, Value: value, Problem: problem, Accepts: strings.ReplaceAll(s.accepts, "'", "")}
}

// failure picks, out of the errors of env, what went wrong with s; env names the field.
func (s setting) failure(errs []error) error {
	for _, err := range errs {
		if parse, ok := errors.AsType[env.ParseError](err); ok && parse.Name == s.Name {
			if number, ok := errors.AsType[*strconv.NumError](parse.Err); ok {
				return number.Err
			}
			return parse.Err
		}
	}
	return nil
}

// inRange compares value with the range of s; a setting without one has no bounds.
func (s setting) inRange(value reflect.Value) bool {
	if s.highest == "" {
		return true
	}
	number := value.Convert(reflect.TypeFor[float64]()).Float()
	// This way round, because NaN is in no range.
	return number >= bound(s.lowest) && number <= bound(s.highest)
}

// bound reads one end of a range, as nanoseconds if it is of durations.
func bound(text string) float64 {
	number, err := strconv.ParseFloat(text, 64)
	if err != nil {
		d, _ := parseDuration(text)
		number = float64(d)
	}
	return number
}
