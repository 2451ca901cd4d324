package schema

// strings reads a list of strings.
func (s *scanner) strings(into *[]string) error {
	if s.null() {
		return nil
	}
	*into = []string{}
	err := s.list(func() error {
		var v string
		err := s.str(&v)
		*into = append(*into, v)
		return err
	})
	s.empty = s.empty || len(*into) == 0
	return err
}

// stringMap reads an object of strings; of an empty one it makes none.
func (s *scanner) stringMap(into *map[string]string) error {
	if s.null() {
		return nil
	}
	if s.checking {
		return s.object(func(string) error {
			var v string
			return s.str(&v)
		})
	}
	m := make(map[string]string)
	err := s.object(func(key string) error {
		var v string
		err := s.str(&v)
		m[key] = v
		return err
	})
	if len(m) > 0 {
		*into = m
	}
	return err
}

// spells notes how a key is spelled that an object within an event has.
func (s *scanner) spells(key string) { s.camel = s.camel || key > "a" }

func (s *scanner) owner(into **Owner) error {
	if s.null() {
		return nil
	}
	o := new(Owner)
	*into = o
	return s.object(func(key string) error {
		s.spells(key)
		switch key {
		case "Ref", "ref":
			return s.str(&o.Ref)
		case "Name", "name":
			return s.str(&o.Name)
		case "Namespace", "namespace":
			return s.str(&o.Namespace)
		}
		s.foreign = true
		return s.skip()
	})
}

func (s *scanner) execEvent(into **ExecEvent) error {
	if s.null() {
		return nil
	}
	e := &s.exec // not kept
	if !s.checking {
		e = new(ExecEvent)
		*into = e
	}
	return s.object(func(key string) error {
		s.spells(key)
		switch key {
		case "ExecID", "execID":
			return s.str(&e.ExecID)
		case "ExecutableName", "executableName":
			return s.str(&e.ExecutableName)
		}
		s.foreign = true
		return s.skip()
	})
}
